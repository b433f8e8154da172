"""MLX's attention: `mx.fast.scaled_dot_product_attention`.

It takes a batch of heads. The causal mask is aligned to the lower right, and torch's is not.
`nn.TransformerEncoderLayer` has no biases around its attention where torch's has: it is not here.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx

from conformance.backends.adapters.mlx_parts import State, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported


class Attention(FunctionBackend):
    """The part of MLX's adapter for attention."""

    @implements("functional.scaled_dot_product_attention")
    def scaled_dot_product_attention(
        self, state: State, query: Any, key: Any, value: Any, attn_mask: Any = None, *,
        dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        """`mx.fast.scaled_dot_product_attention` of four axes, to which a batch is added."""
        only(dropout_p=(dropout_p, 0.0))
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
        three = query.ndim == 3
        if attn_mask is not None and three and attn_mask.ndim == 3:
            attn_mask = attn_mask[None]
        given = {
            "scale": 1 / math.sqrt(query.shape[-1]) if scale is None else scale,
            "mask": "causal" if is_causal else attn_mask,
        }
        q, k, v = (x[None] if three else x for x in (query, key, value))
        y = mx.fast.scaled_dot_product_attention(q, k, v, **given)
        return y[0] if three else y
