"""Keras's attention: `keras.ops.dot_product_attention` and `MultiHeadAttention`.

The function's axes are batch, length, head and feature. Masks of booleans are true where a query
sees a key. The layer's mask has axes for queries and keys, and holds for all heads; it is never of
numbers. The layer returns the weights of each head before the dropout, and not their mean.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from conformance.backends.adapters.keras.parts import keras
from conformance.backends.adapters.shared import State, attention_projections
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Attention(FunctionBackend):
    """The part of Keras's adapter for attention."""

    @implements("functional.scaled_dot_product_attention")
    def scaled_dot_product_attention(
        self, state: State, query: Any, key: Any, value: Any, attn_mask: Any = None, *,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        """`keras.ops.dot_product_attention`; missing axes of batch and heads are added."""
        ranks = {query.ndim, key.ndim, value.ndim}
        if ranks not in ({2}, {3}, {4}):
            raise Unsupported(f"a query of {query.ndim} axes")
        if key.shape != value.shape:
            raise Unsupported("values of another shape than keys")
        heads = -3 if enable_gqa and query.ndim > 2 else -2
        if query.shape[:heads] != key.shape[:heads]:
            raise Unsupported("leading axes that are broadcast")
        if is_causal and attn_mask is not None:
            raise ValueError("attn_mask with is_causal=True")
        leading = (None,) * (4 - query.ndim)
        mask = attn_mask
        if mask is not None and mask.ndim > 2:
            mask = mask[leading]
        is_bias = mask is not None and mask.dtype != torch.bool
        y = keras.ops.dot_product_attention(
            *(x[leading].swapaxes(1, 2) for x in (query, key, value)),
            bias=mask if is_bias else None, mask=None if is_bias else mask, scale=scale,
            is_causal=is_causal,
        ).swapaxes(1, 2)  # fmt: skip
        return y[(0,) * len(leading)]

    @implements("MultiheadAttention")
    def multihead_attention(
        self, state: State, query: Any, key: Any, value: Any, key_padding_mask: Any = None,
        attn_mask: Any = None, *, call: Call, training: bool, embed_dim: int, num_heads: int,
        dropout: float = 0.0, bias: bool = True, kdim: int | None = None, vdim: int | None = None,
        batch_first: bool = False, need_weights: bool = True, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """`MultiHeadAttention`, which expects the batch first."""
        if need_weights and average_attn_weights:
            raise Unsupported("average_attn_weights=True")
        if need_weights and training and dropout:
            raise Unsupported("weights after a dropout")
        if num_heads > 0 and embed_dim % num_heads:
            raise ValueError(f"embed_dim={embed_dim}, num_heads={num_heads}")
        if is_causal and attn_mask is None:
            raise ValueError("is_causal=True without attn_mask")
        is_unbatched = query.ndim == 2
        swaps_axes = not is_unbatched and not batch_first
        q, k, v = (
            x[None] if is_unbatched else x.swapaxes(0, 1) if swaps_axes else x
            for x in (query, key, value)
        )
        padding, mask = _open(key_padding_mask, "key_padding_mask"), _open(attn_mask, "attn_mask")
        if mask is not None and mask.ndim != 2:
            raise Unsupported("attn_mask of each head")
        if padding is not None and padding.ndim != 2 - is_unbatched:
            raise ValueError(f"key_padding_mask of {padding.ndim} axes")
        layer = _build_layer(
            call.dtype, num_heads, embed_dim, dropout, bias, kdim or embed_dim, vdim or embed_dim
        )
        keywords = {
            "value_mask": padding[None] if is_unbatched and padding is not None else padding,
            "attention_mask": None if mask is None else mask[None],
            "return_attention_scores": need_weights, "training": training,
            "use_causal_mask": is_causal,
        }  # fmt: skip
        if state:
            weights = _keras_weights(state, num_heads)
            y = layer.stateless_call(
                weights, layer.non_trainable_variables, q, v, k, **keywords
            )[0]  # fmt: skip
        else:
            y = layer(q, v, k, **keywords)
        y, scores = y if need_weights else (y, None)
        if is_unbatched:
            return y[0], None if scores is None else scores[0]
        return y.swapaxes(0, 1) if swaps_axes else y, scores


@cache
def _build_layer(
    dtype: str, heads: int, width: int, dropout: float, bias: bool, keys: int, values: int
) -> Any:
    layer = keras.layers.MultiHeadAttention(
        heads, width // heads if heads else width, dropout=dropout, use_bias=bias, dtype=dtype
    )
    layer.build(*((None, None, size) for size in (width, values, keys)))
    return layer


def _keras_weights(state: State, heads: int) -> list[Any]:
    """torch's matrices in Keras's order: query, key, value, output, each with its bias."""
    matrices, offsets = attention_projections(state, torch.chunk)
    width = len(matrices[0])
    sizes = (heads, width // heads)
    weights: list[Any] = []
    for k, matrix in enumerate(matrices):
        weights.append(matrix.T.reshape(-1, *sizes))
        weights += [offsets[k].reshape(sizes)] if offsets else []
    weights.append(state["out_proj.weight"].T.reshape(*sizes, width))
    return weights + ([state["out_proj.bias"]] if offsets else [])


def _open(mask: Any, name: str) -> Any:
    """Invert a mask of torch, so that it is true where a query sees a key."""
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        raise Unsupported(f"{name} of numbers")
    return ~mask
