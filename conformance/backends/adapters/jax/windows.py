"""What JAX has for windows, edges and rows: `lax.reduce_window`, `jnp.pad`, `jnp.take`.

A maximum is `lax.max` over windows, an average their sum by `lax.add`, divided.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from conformance.backends.adapters.jax.parts import Asked, State, batched, compiled, each, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported

_MODES = {
    "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip
_PADS = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}


class Windows(FunctionBackend):
    """The part of JAX's adapter for pooling, padding and embedding."""

    @implements(
        "MaxPool1d", "MaxPool2d", "MaxPool3d", "functional.max_pool1d", "functional.max_pool2d",
        "functional.max_pool3d",
    )  # fmt: skip
    @compiled
    def max_pool(
        self, state: State, x: Any, *, call: Asked, kernel_size: Any, stride: Any = None,
        padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        """`lax.reduce_window` of `lax.max`, from −∞ on."""
        only(return_indices=(return_indices, False), ceil_mode=(ceil_mode, False))
        return _pooled(call, x, lax.max, -jnp.inf, kernel_size, stride, padding, dilation)

    @implements(
        "AvgPool1d", "AvgPool2d", "AvgPool3d", "functional.avg_pool1d", "functional.avg_pool2d",
        "functional.avg_pool3d",
    )  # fmt: skip
    @compiled
    def avg_pool(
        self, state: State, x: Any, *, call: Asked, kernel_size: Any, stride: Any = None,
        padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        """`lax.reduce_window` of `lax.add`, divided by the size of a window."""
        only(ceil_mode=(ceil_mode, False), count_include_pad=(count_include_pad, True))
        total = _pooled(call, x, lax.add, 0.0, kernel_size, stride, padding)
        size = math.prod(each(kernel_size, int(call.layer[-2])))
        return total / (size if divisor_override is None else divisor_override)

    @implements(
        "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
        "ReplicationPad2d", "ReplicationPad3d", "CircularPad1d", "CircularPad2d", "CircularPad3d",
        "ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    )  # fmt: skip
    @compiled
    def pad_module(
        self, state: State, x: Any, *, call: Asked, padding: Any, value: float = 0.0
    ) -> Any:
        """`jnp.pad` of the last axes, as many as the layer's name says."""
        dims = int(call.layer[-2])
        mode = _PADS.get(call.layer[: -len("Pad1d")], "constant")
        if mode != "constant" and x.ndim not in (dims + 1, dims + 2):
            raise ValueError(f"{call.layer}: an input of {x.ndim} axes")
        pad = (padding,) * 2 * dims if isinstance(padding, int) else tuple(padding)
        if len(pad) != 2 * dims:
            raise ValueError(f"{call.layer}: padding={padding!r}")
        return _padded(x, pad, mode, value if mode == "constant" else None)

    @implements("functional.pad")
    @compiled
    def pad(
        self, state: State, x: Any, *, pad: Any, mode: str = "constant", value: float | None = None
    ) -> Any:
        """`jnp.pad`."""
        return _padded(x, pad, mode, value)

    @implements("Embedding", "functional.embedding", ignores=("norm_type",))
    @compiled
    def embedding(
        self, state: State, indices: Any, *weights: Any, num_embeddings: int | None = None,
        embedding_dim: int | None = None, padding_idx: int | None = None,
        max_norm: float | None = None, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Any:  # fmt: skip
        """`jnp.take` of rows."""
        only(padding_idx=(padding_idx, None), max_norm=(max_norm, None))
        only(scale_grad_by_freq=(scale_grad_by_freq, False), sparse=(sparse, False))
        if not weights and "weight" not in state:
            raise Unsupported("initial values")
        return jnp.take(weights[0] if weights else state["weight"], indices, axis=0)


def _pooled(
    call: Asked, x: Any, reduce: Any, first: float, size: Any, stride: Any, padding: Any,
    dilation: Any = 1,
) -> Any:  # fmt: skip
    dims = int(call.layer[-2])
    sizes = each(size, dims)
    strides = sizes if stride is None else each(stride, dims)
    pads = [(0, 0), (0, 0), *((p, p) for p in each(padding, dims))]
    dilations = each(dilation, dims)

    def function(x: Any) -> Any:
        ones = (1, 1)
        return lax.reduce_window(
            x, first, reduce, ones + sizes, ones + strides, pads,
            window_dilation=ones + dilations,
        )  # fmt: skip

    return batched(function, x, dims)


def _padded(x: Any, pad: Any, mode: str, value: float | None) -> Any:
    """torch's list begins with the last axis."""
    if any(p < 0 for p in pad):
        raise Unsupported("negative padding")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"padding of {len(pad)} numbers for {x.ndim} axes")
    pairs = [(0, 0)] * x.ndim
    for k in range(len(pad) // 2):
        pairs[-1 - k] = (pad[2 * k], pad[2 * k + 1])
    if mode not in _MODES:
        raise ValueError(f"mode={mode!r}")
    named = {} if value is None else {"constant_values": value}
    return jnp.pad(x, pairs, mode=_MODES[mode], **named)
