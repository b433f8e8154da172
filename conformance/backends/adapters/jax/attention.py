"""`jax.nn.dot_product_attention`, whose axes are batch, length, head and feature."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from conformance.backends.adapters.jax.parts import compiled
from conformance.backends.adapters.shared import State
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported


class Attention(FunctionBackend):
    """The part of JAX's adapter for attention."""

    @implements("functional.scaled_dot_product_attention")
    @compiled
    def attention(
        self, state: State, query: Any, key: Any, value: Any, attn_mask: Any = None, *,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        """Accept at most one batch axis before the heads, and values only as wide as keys."""
        q, k, v = (x[None] if x.ndim == 2 else x for x in (query, key, value))
        if q.ndim not in (3, 4):
            raise Unsupported(f"a query of {query.ndim} axes")
        if value.shape[-1] != key.shape[-1]:
            raise Unsupported("values of another width than keys")
        if not enable_gqa and q.shape[-3] != k.shape[-3]:
            raise Unsupported("broadcast heads")
        is_mask = attn_mask is not None and attn_mask.dtype == jnp.bool_
        q, k, v = (x.swapaxes(-3, -2) for x in (q, k, v))
        y: Any = jax.nn.dot_product_attention(
            q, k, v,
            bias=None if is_mask else attn_mask,
            mask=attn_mask if is_mask else None,
            scale=scale, is_causal=is_causal,
        )  # fmt: skip
        y = y.swapaxes(-3, -2)
        return y[0] if query.ndim == 2 else y
