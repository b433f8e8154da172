"""Flax's attention: `nnx.dot_product_attention` and `nnx.MultiHeadAttention`.

The function's axes are batch, length, head and feature, and it always divides by √E. Masks of
booleans are true where a query sees a key. The layer has no masks of numbers, and its keys and
values have the same number of features. It returns the weights of each head before the dropout, and
not their mean.
"""

from __future__ import annotations

import math
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.flax.parts import make_layer
from conformance.backends.adapters.jax.parts import JitCall, compiled
from conformance.backends.adapters.shared import State, attention_projections
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported


class Attention(FunctionBackend):
    """The part of Flax's adapter for attention."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._call_count = count()

    @implements("functional.scaled_dot_product_attention", passes=("scale", "is_causal"))
    def scaled_dot_product_attention(
        self, state: State, query: Any, key: Any, value: Any, attn_mask: Any = None, *,
        dropout_p: float = 0.0, enable_gqa: bool = False, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nnx.dot_product_attention`, where several heads of queries may share one of keys."""
        leading = -3 if enable_gqa else -2
        if not query.shape[:leading] == key.shape[:leading] == value.shape[:leading]:
            raise Unsupported("leading axes that are broadcast")
        inputs = (query, key, value, attn_mask, self._random_key(dropout_p))
        return self._compute_dot_product(state, *inputs, rate=dropout_p, **arguments)

    def _random_key(self, rate: float) -> Any:
        """Another key for each call that drops out."""
        return jax.random.fold_in(jax.random.key(0), next(self._call_count)) if rate else None

    @compiled
    def _compute_dot_product(
        self, state: State, query: Any, key: Any, value: Any, mask: Any, rng: Any, *, rate: float,
        scale: float | None = None, is_causal: bool = False,
    ) -> Any:  # fmt: skip
        if scale is not None and scale * math.sqrt(query.shape[-1]) != 1:
            raise Unsupported(f"scale={scale}")
        if is_causal and mask is not None:
            raise ValueError("attn_mask with is_causal=True")
        lacks_heads = query.ndim == 2
        q, k, v = ((x[None] if lacks_heads else x).swapaxes(-3, -2) for x in (query, key, value))
        is_bias = mask is not None and mask.dtype != bool
        y = nnx.dot_product_attention(
            q, k, v, bias=mask if is_bias else None, mask=None if is_bias else mask,
            broadcast_dropout=False, dropout_rng=rng, dropout_rate=rate, is_causal=is_causal,
        ).swapaxes(-3, -2)  # fmt: skip
        return y[0] if lacks_heads else y

    @implements(
        "MultiheadAttention",
        passes=(
            "embed_dim", "num_heads", "bias", "kdim", "vdim", "batch_first", "is_causal",
        ),
    )  # fmt: skip
    def multihead_attention(
        self, state: State, query: Any, key: Any, value: Any, key_padding_mask: Any = None,
        attn_mask: Any = None, *, call: Any, training: bool, dropout: float = 0.0,
        need_weights: bool = True, average_attn_weights: bool = True, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nnx.MultiHeadAttention`, which expects the batch first."""
        if need_weights and average_attn_weights:
            raise Unsupported("average_attn_weights=True")
        rate = dropout if training else 0.0
        if need_weights and rate:
            raise Unsupported("weights after a dropout")
        inputs = (query, key, value, key_padding_mask, attn_mask, self._random_key(rate))
        return self._compute_attention(
            state, *inputs, call=call, rate=rate, sow_weights=need_weights, **arguments
        )

    @compiled
    def _compute_attention(
        self, state: State, query: Any, key: Any, value: Any, padding: Any, mask: Any,
        rng: Any, *, call: JitCall, rate: float, sow_weights: bool, embed_dim: int, num_heads: int,
        bias: bool = True, kdim: int | None = None, vdim: int | None = None,
        batch_first: bool = False, is_causal: bool = False,
    ) -> Any:  # fmt: skip
        if (kdim or embed_dim) != (vdim or embed_dim):
            raise Unsupported("keys of another width than values")
        if is_causal and mask is None:
            raise ValueError("is_causal=True without attn_mask")
        has_batch, swaps_axes = query.ndim == 3, query.ndim == 3 and not batch_first
        samples = query.shape[1 - batch_first] if has_batch else None
        masks = [_attention_mask(mask, samples, num_heads), _padding_mask(padding, samples)]
        layer = make_layer(
            nnx.MultiHeadAttention, call, _parameters(state, embed_dim, num_heads), "kernel_init",
            num_heads=num_heads, in_features=embed_dim, in_kv_features=kdim or embed_dim,
            use_bias=bias, dropout_rate=rate, broadcast_dropout=False, decode=False,
        )  # fmt: skip
        q, k, v = (x.swapaxes(0, 1) if swaps_axes else x for x in (query, key, value))
        y = layer(
            q, k, v, mask=nnx.combine_masks(*masks, dtype=bool), sow_weights=sow_weights,
            is_causal=is_causal, deterministic=not rate,
            rngs=None if rng is None else nnx.Rngs(rng),
        )  # fmt: skip
        weights = nnx.pop(layer, nnx.Intermediate)["attention_weights"][0] if sow_weights else None
        return y.swapaxes(0, 1) if swaps_axes else y, weights


def _parameters(state: State, width: int, heads: int) -> dict[str, Any]:
    """Translate torch's matrices to Flax's parameters, which separate the heads."""
    if not state:
        return {}
    matrices, offsets = attention_projections(state, jnp.split)
    names, sizes = ("query", "key", "value"), (heads, width // heads)
    kernels = {f"{n}.kernel": w.T.reshape(-1, *sizes) for n, w in zip(names, matrices, strict=True)}
    kernels["out.kernel"] = state["out_proj.weight"].T.reshape(*sizes, width)
    biases = {f"{n}.bias": b.reshape(sizes) for n, b in zip(names, offsets, strict=False)}
    return kernels | biases | ({"out.bias": state["out_proj.bias"]} if biases else {})


def _attention_mask(mask: Any, samples: int | None, heads: int) -> Any:
    """Invert an attention mask, (L, S) or (N·heads, L, S), and split the heads from the batch."""
    if mask is None:
        return None
    if mask.dtype != bool:
        raise Unsupported("attn_mask of numbers")
    if mask.ndim not in (2, 3):
        raise ValueError(f"attn_mask of {mask.ndim} axes")
    leading = () if samples is None else (samples,)
    shape = (*leading, heads) if mask.ndim == 3 else (1,) * len(leading) + (1,)
    return ~mask.reshape(*shape, *mask.shape[-2:])


def _padding_mask(mask: Any, samples: int | None) -> Any:
    """Invert a key padding mask, (N, S) or (S), and add axes for heads and queries."""
    if mask is None:
        return None
    if mask.dtype != bool:
        raise Unsupported("key_padding_mask of numbers")
    if mask.ndim != (1 if samples is None else 2):
        raise ValueError(f"key_padding_mask of {mask.ndim} axes")
    return ~mask[..., None, None, :]
