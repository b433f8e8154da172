"""JAX's pooling, padding and embedding: `lax.reduce_window`, `jnp.pad`, `jnp.take`.

Max pooling is `lax.max` over windows. Average pooling is the sum by `lax.add`, divided by the size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from conformance.backends.adapters.jax.parts import JitCall, compiled
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State, check_rank
from conformance.backends.adapters.windows import (
    PAD_MODES,
    call_batched,
    pad_pairs,
    padding_of,
    per_dimension,
    pooling_window,
)
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported


class Windows(FunctionBackend):
    """The part of JAX's adapter for pooling, padding and embedding."""

    @implements(*names_for_dims("MaxPool{}d", "functional.max_pool{}d"))
    @compiled
    def max_pool(
        self, state: State, x: Any, *, call: JitCall, kernel_size: Any, stride: Any = None,
        padding: Any = 0, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """`lax.reduce_window` of `lax.max`, with the initial value −∞."""
        return _pool(call, x, lax.max, -jnp.inf, kernel_size, stride, padding, dilation)

    @implements(*names_for_dims("AvgPool{}d", "functional.avg_pool{}d"))
    @compiled
    def avg_pool(
        self, state: State, x: Any, *, call: JitCall, kernel_size: Any, stride: Any = None,
        padding: Any = 0, divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        """`lax.reduce_window` of `lax.add`, divided by the size of a window."""
        total = _pool(call, x, lax.add, 0.0, kernel_size, stride, padding)
        size = math.prod(per_dimension(kernel_size, spatial_dims(call.layer)))
        return total / (size if divisor_override is None else divisor_override)

    @implements(
        *names_for_dims("ReflectionPad{}d", "ReplicationPad{}d", "CircularPad{}d"),
        *names_for_dims("ZeroPad{}d", "ConstantPad{}d"),
    )
    @compiled
    def pad_module(
        self, state: State, x: Any, *, call: JitCall, padding: Any, value: float = 0.0
    ) -> Any:
        """`jnp.pad` of the last axes; the layer's name says how many."""
        dims, (mode, pad) = spatial_dims(call.layer), padding_of(call.layer, padding)
        if mode != "constant":
            check_rank(call.layer, x, dims + 1, dims + 2)
        if len(pad) != 2 * dims:
            raise ValueError(f"{call.layer}: padding={padding!r}")
        return _pad_array(x, pad, mode, value if mode == "constant" else None)

    @implements("functional.pad")
    @compiled
    def pad(
        self, state: State, x: Any, *, pad: Any, mode: str = "constant", value: float | None = None
    ) -> Any:
        """`jnp.pad`."""
        return _pad_array(x, pad, mode, value)

    @implements(
        "Embedding", "functional.embedding",
        ignores=("num_embeddings", "embedding_dim", "norm_type"),
    )  # fmt: skip
    @compiled
    def embedding(self, state: State, indices: Any, *weights: Any) -> Any:
        """`jnp.take` of rows."""
        if not weights and "weight" not in state:
            raise Unsupported("initial values")
        return jnp.take(weights[0] if weights else state["weight"], indices, axis=0)


def decline_aborting_window(sizes: Sequence[int], pads: Sequence[int]) -> None:
    """Decline windows of one element with a padding below 0, for which XLA ends the process.

    XLA takes such a `lax.reduce_window` for its operand, which has another shape, and aborts:
    RET_CHECK failure "reduce_window" (f32[3]) vs "add" (f32[5]), in JAX 0.10.2.
    """
    if set(sizes) <= {1} and any(p < 0 for p in pads):
        raise Unsupported("a window of one element with a padding below 0")


def _pool(
    call: JitCall, x: Any, reduce: Any, initial: float, size: Any, stride: Any, padding: Any,
    dilation: Any = 1,
) -> Any:  # fmt: skip
    dims = spatial_dims(call.layer)
    sizes, strides = pooling_window(dims, size, stride)
    pads = [(0, 0), (0, 0), *((p, p) for p in per_dimension(padding, dims))]
    dilations = per_dimension(dilation, dims)
    decline_aborting_window(sizes, per_dimension(padding, dims))

    def function(x: Any) -> Any:
        ones = (1, 1)
        return lax.reduce_window(
            x, initial, reduce, ones + sizes, ones + strides, pads,
            window_dilation=ones + dilations,
        )  # fmt: skip

    return call_batched(function, x, dims)


def _pad_array(x: Any, pad: Any, mode: str, value: float | None) -> Any:
    """Pad by torch's list of numbers, which begins with the last axis."""
    if any(p < 0 for p in pad):
        raise Unsupported("negative padding")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"padding of {len(pad)} numbers for {x.ndim} axes")
    if mode not in PAD_MODES:
        raise ValueError(f"mode={mode!r}")
    keywords = {} if value is None else {"constant_values": value}
    return jnp.pad(x, pad_pairs(pad, x.ndim), mode=PAD_MODES[mode], **keywords)
