"""MLX's attention: `mx.fast.scaled_dot_product_attention` and `nn.MultiHeadAttention`.

Both take a batch of heads. MLX aligns the causal mask to the lower right, torch to the upper left.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.mlx.parts import DTYPES
from conformance.backends.adapters.shared import State, attention_projections, require_supported
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Attention(FunctionBackend):
    """The part of MLX's adapter for attention."""

    @implements("functional.scaled_dot_product_attention")
    def scaled_dot_product_attention(
        self, state: State, query: Any, key: Any, value: Any, attn_mask: Any = None, *,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        """`mx.fast.scaled_dot_product_attention` of four axes; a missing batch is added."""
        if query.ndim not in (3, 4) or not query.ndim == key.ndim == value.ndim:
            raise Unsupported(f"a query of {query.ndim} axes")
        if not query.shape[:-3] == key.shape[:-3] == value.shape[:-3]:
            raise Unsupported("batches that are broadcast")
        if not enable_gqa and not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
            raise Unsupported("leading axes that are broadcast")
        if is_causal:
            if attn_mask is not None:
                raise ValueError("attn_mask with is_causal=True")
            if query.shape[-2] != key.shape[-2]:
                raise Unsupported("is_causal=True with other lengths")
        if query.shape[-1] == 0:
            raise Unsupported("heads of no features")
        lacks_batch = query.ndim == 3
        if attn_mask is not None and lacks_batch and attn_mask.ndim == 3:
            attn_mask = attn_mask[None]
        arguments = {
            "scale": 1 / math.sqrt(query.shape[-1]) if scale is None else scale,
            "mask": "causal" if is_causal else attn_mask,
        }
        q, k, v = (x[None] if lacks_batch else x for x in (query, key, value))
        y = mx.fast.scaled_dot_product_attention(q, k, v, **arguments)
        return y[0] if lacks_batch else y

    @implements("MultiheadAttention")
    def multi_head_attention(
        self, state: State, query: Any, key: Any, value: Any, key_padding_mask: Any = None,
        attn_mask: Any = None, *, call: Call, embed_dim: int, num_heads: int, dropout: float = 0.0,
        bias: bool = True, kdim: int | None = None, vdim: int | None = None,
        batch_first: bool = False, need_weights: bool = True, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """`nn.MultiHeadAttention`, which returns no weights, and adds its masks to the scores."""
        require_supported(need_weights=(need_weights, False), dropout=(dropout, 0.0))
        if key_padding_mask is not None:
            raise Unsupported("key_padding_mask")
        if attn_mask is not None and attn_mask.dtype == mx.bool_:
            raise Unsupported("attn_mask of bool")
        if not state:
            raise Unsupported("initial values")
        layer = nn.MultiHeadAttention(
            embed_dim, num_heads, key_input_dims=kdim or embed_dim,
            value_input_dims=vdim or embed_dim, bias=bias,
        )  # fmt: skip
        layer.set_dtype(DTYPES[call.dtype])
        weights, biases = attention_projections(state, mx.split)
        linears = (layer.query_proj, layer.key_proj, layer.value_proj, layer.out_proj)
        for linear, weight in zip(linears, (*weights, state["out_proj.weight"]), strict=True):
            linear.weight = weight
        if biases:
            for linear, offset in zip(linears, (*biases, state["out_proj.bias"]), strict=True):
                linear.bias = offset
        is_unbatched = query.ndim == 2
        q, k, v = (
            x[None] if is_unbatched else x if batch_first else x.swapaxes(0, 1)
            for x in (query, key, value)
        )
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.reshape(-1, num_heads, *attn_mask.shape[1:])
        y = layer(q, k, v, attn_mask)
        return (y[0] if is_unbatched else y if batch_first else y.swapaxes(0, 1)), None
