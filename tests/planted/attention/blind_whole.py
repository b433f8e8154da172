"""Bugs written without sight of the suite: attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind


@blind("multiheadattention-masks-both-needed-to-hide", "MultiheadAttention", "values")
class _BothNeeded(nn.MultiheadAttention):
    """A key is hidden only where attn_mask and key_padding_mask both say so: masks merged by and,
    in a port where true means seen."""

    # Differs: two boolean masks that hide different keys. Agrees: either mask alone.

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        masks = (key_padding_mask, attn_mask)
        boolean = all(mask is not None and mask.dtype == torch.bool for mask in masks)
        if boolean and attn_mask.dim() == 2 and key_padding_mask.dim() == 2:
            merged = attn_mask & key_padding_mask.unsqueeze(1)
            attn_mask = merged.repeat_interleave(self.num_heads, 0)
            key_padding_mask, is_causal = None, False
        options = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
        return super().forward(query, key, value, *options)


@blind("multiheadattention-unbatched-weights-keep-a-batch", "MultiheadAttention", "shape")
class _KeepsBatch(nn.MultiheadAttention):
    """Without a batch the output loses the added axis and the weights keep it."""

    # Differs: the weights of inputs (L, E). Agrees: inputs (L, N, E); need_weights=False.

    def forward(self, query: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        output, weights = super().forward(query, *args, **kwargs)
        if query.dim() == 2 and weights is not None:
            weights = weights.unsqueeze(0)
        return output, weights


@blind("multiheadattention-padding-mask-hides-the-added-zero", "MultiheadAttention", "values")
class _HidesZero(nn.MultiheadAttention):
    """A padding mask is lengthened by true for the row that add_zero_attn adds, which hides it."""

    # Differs: add_zero_attn=True with a key_padding_mask. Agrees: without a mask.

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        options = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
        if key_padding_mask is None or not self.add_zero_attn:
            return super().forward(query, key, value, *options)
        self.add_zero_attn = False
        try:
            output, weights = super().forward(query, key, value, *options)
        finally:
            self.add_zero_attn = True
        return output, None if weights is None else functional.pad(weights, (0, 1))


@blind(
    "functional-attention-zero-scale-is-no-scale",
    "functional.scaled_dot_product_attention",
    "values",
)
def _zero_scale(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """A scale of 0 is false, as None is, and the default is taken: `scale or default`."""
    # Differs: scale=0.0. Agrees: scale=0.5; no scale.
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask,
        dropout_p,
        is_causal,
        scale=scale or None,
        enable_gqa=enable_gqa,
    )


@blind(
    "functional-attention-groups-of-heads-in-turn",
    "functional.scaled_dot_product_attention",
    "values",
)
def _heads_in_turn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Heads of keys are repeated in turn (0, 1, 0, 1), not each in place (0, 0, 1, 1)."""
    # Differs: enable_gqa=True, 4 heads over 2. Agrees: 4 heads over 1; enable_gqa=False.
    if enable_gqa and key.size(-3) == value.size(-3) and query.size(-3) != key.size(-3):
        times = query.size(-3) // max(key.size(-3), 1)
        key = torch.cat([key] * times, -3)
        value = torch.cat([value] * times, -3)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


@blind(
    "functional-attention-drops-keys-past-a-tile",
    "functional.scaled_dot_product_attention",
    "values",
)
def _keys_past_tile(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Keys past the last multiple of sixteen are never loaded, where there is a full tile and no
    mask to bring its own bounds."""
    # Differs: 17 keys. Agrees: 16 keys, 5 keys; with a mask.
    if attn_mask is None and not is_causal and key.size(-2) == value.size(-2) > 16:
        full_size = key.size(-2) // 16 * 16
        key, value = key[..., :full_size, :], value[..., :full_size, :]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )
