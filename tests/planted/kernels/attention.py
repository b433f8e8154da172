"""Attention as torch fuses it on the CPU: one blocked kernel and its wrong relatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import Cut, all_blocks, allocate, full_blocks, store, widened
from planted.kernels.calls import attend_heads
from planted.kernels.kernel import kernel

LAYERS = ("MultiheadAttention", "functional.scaled_dot_product_attention")
OPERATOR = "aten::_scaled_dot_product_flash_attention_for_cpu"
Results = tuple[Tensor, Tensor]
_BLOCK = all_blocks(32)


def blocked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool = False,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
    *,
    queries: Cut = _BLOCK,
    keys: Cut = _BLOCK,
    late: int = 0,
    rescaled: bool = True,
    masked_keys: int | None = None,
) -> Results:
    """Attention of blocks of queries, over blocks of keys with a running softmax.

    Args:
        query: batch × heads × queries × size.
        key: batch × heads of keys × keys × size; heads of queries share them in turn.
        value: batch × heads of keys × keys × size.
        is_causal: whether a query sees the keys up to its own place only.
        attn_mask: added to the scores.
        scale: times the scores; one over the root of the size where None.
        queries: how queries are cut; others are not written.
        keys: how keys are cut.
        late: how many keys too many a query past the first block sees, where causal.
        rescaled: whether sums so far are rescaled for a new largest score.
        masked_keys: up to which key the mask is looked at.
    """
    q, k, v = widened(query), widened(key), widened(value)
    group_size = q.shape[1] // max(k.shape[1], 1)
    k, v = k.repeat(group_size, axis=1), v.repeat(group_size, axis=1)
    batch, heads, length, size = q.shape
    factor = q.dtype.type(1 / math.sqrt(size) if scale is None else scale)
    bias = np.zeros((), q.dtype) if attn_mask is None else widened(attn_mask)
    bias = np.broadcast_to(bias, (batch, heads, length, k.shape[2]))
    out = allocate((batch, heads, length, v.shape[3]), query)
    sums = torch.zeros((batch, length, heads), dtype=torch.from_numpy(q[:0]).dtype)
    sums = sums.transpose(1, 2)
    for i in queries(length):
        largest = np.full((batch, heads, i.stop - i.start, 1), -np.inf, q.dtype)
        total, weighted_sum = np.zeros_like(largest), np.zeros((), q.dtype)
        visible = np.arange(i.start, i.stop)[:, None] + (late if i.start else 0)
        for j in keys(k.shape[2]):
            scores = q[:, :, i] @ k[:, :, j].swapaxes(2, 3) * factor
            if masked_keys is None or j.start < masked_keys:
                scores = scores + bias[:, :, i, j]
            if is_causal:
                scores = np.where(visible >= np.arange(j.start, j.stop), scores, -np.inf)
            new_largest = np.maximum(largest, scores.max(axis=3, keepdims=True))
            base = np.where(new_largest == -np.inf, q.dtype.type(0), new_largest)
            power = np.exp(scores - base).astype(q.dtype)
            old_scale = np.exp(largest - base) if rescaled else q.dtype.type(1)
            total = total * old_scale + power.sum(axis=3, keepdims=True)
            weighted_sum = weighted_sum * old_scale + power @ v[:, :, j]
            largest = new_largest
        none = total == 0
        store(out, (slice(None), slice(None), i), np.where(none, 0, weighted_sum / (total + none)))
        logarithm = np.where(none, 0, largest + np.log(total + none))[..., 0]
        store(sums, (slice(None), slice(None), i), logarithm)
    return out, sums


@kernel(
    "flash-attention-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        attend_heads(2, 3, 40, 70, 9, masked=True),
        attend_heads(2, 2, 40, 40, 8, causal=True, gradients=True, dtype="float64"),
        attend_heads(1, 4, 5, 33, 8, key_heads=2),
        attend_heads(1, 2, 5, 33, 8, masked=True, gradients=True),
    ],
)
def flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Results:
    return blocked(query, key, value, is_causal, attn_mask, scale)


def _plant_variant(
    name: str, options: dict[str, Any], wrong: str, agrees: object, differs: object
) -> None:
    """Enter a kernel with other arguments of the blocked one."""

    @kernel(f"flash-attention-{name}", OPERATOR, LAYERS, wrong, agrees=agrees, differs=differs)
    def flash_attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        attn_mask: Tensor | None = None,
        scale: float | None = None,
    ) -> Results:
        return blocked(query, key, value, is_causal, attn_mask, scale, **options)


_plant_variant(
    "lets-late-queries-see-one-key-ahead",
    {"late": 1},
    "Where causal, queries past the first block of 32 see the key after their own; up to 32 "
    "queries, and without is_causal, it is right.",
    [attend_heads(1, 2, 32, 32, 8, causal=True), attend_heads(1, 2, 34, 34, 8)],
    [attend_heads(1, 2, 34, 34, 8, causal=True)],
)
_plant_variant(
    "drops-the-tail-of-keys-past-64",
    {"keys": full_blocks(64)},
    "Of keys over 64 only whole blocks of 64 are seen; up to 64 are right.",
    [attend_heads(1, 2, 3, 64, 8), attend_heads(1, 2, 3, 7, 8)],
    [attend_heads(1, 2, 3, 65, 8)],
)
_plant_variant(
    "does-not-write-the-queries-past-64",
    {"queries": full_blocks(64)},
    "Of queries over 64 only whole blocks of 64 are written; up to 64 are right.",
    [attend_heads(1, 2, 64, 5, 8), attend_heads(1, 2, 7, 5, 8)],
    [attend_heads(1, 2, 65, 5, 8)],
)
_plant_variant(
    "does-not-rescale-at-the-second-block",
    {"rescaled": False},
    "The sums over earlier blocks of 32 keys are not rescaled where a later one has a larger "
    "score; up to 32 keys are right.",
    [attend_heads(1, 2, 3, 32, 8)],
    [attend_heads(1, 2, 3, 64, 8, spread=3.0)],
)
_plant_variant(
    "looks-at-the-mask-for-32-keys",
    {"masked_keys": 32},
    "The mask is looked at in the first block of 32 keys only; up to 32 keys, and without a "
    "mask, it is right.",
    [attend_heads(1, 2, 3, 32, 8, masked=True), attend_heads(1, 2, 3, 40, 8)],
    [attend_heads(1, 2, 3, 40, 8, masked=True)],
)


@kernel(
    "flash-attention-scales-by-the-padded-size",
    OPERATOR,
    LAYERS,
    "The scale is that of the size rounded up to a power of two; powers of two are right.",
    agrees=[attend_heads(1, 2, 3, 7, 8), attend_heads(1, 2, 3, 7, 16)],
    differs=[attend_heads(1, 2, 3, 7, 9)],
)
def padded_scale(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Results:
    if scale is None:
        scale = (1 << (query.shape[-1] - 1).bit_length()) ** -0.5
    return blocked(query, key, value, is_causal, attn_mask, scale)


@kernel(
    "flash-attention-shares-keys-between-the-wrong-heads",
    OPERATOR,
    LAYERS,
    "Head h of the queries takes head h modulo the heads of keys, instead of h divided by how "
    "many share one; as many heads of keys as of queries are right.",
    agrees=[attend_heads(1, 4, 3, 7, 8)],
    differs=[attend_heads(1, 4, 3, 7, 8, key_heads=2)],
)
def wrong_heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Results:
    heads = torch.arange(query.shape[1]) % max(key.shape[1], 1)
    return blocked(query, key[:, heads], value[:, heads], is_causal, attn_mask, scale)


@kernel(
    "flash-attention-returns-sums-in-base-two",
    OPERATOR,
    LAYERS,
    "The logarithms of the sums are returned in base two, which only gradients read; values are "
    "right.",
    agrees=[attend_heads(1, 2, 3, 7, 8)],
    differs=[attend_heads(1, 2, 3, 7, 8, gradients=True)],
)
def base_two(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> Results:
    out, sums = blocked(query, key, value, is_causal, attn_mask, scale)
    return out, sums / math.log(2)
