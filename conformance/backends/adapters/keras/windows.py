"""Keras's pooling, padding and upsampling.

Pooling uses only 'valid' padding, because 'same' depends on the length. Layers need a batch, which
the adapter adds, and accept channels first.
"""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.keras.parts import call_layer
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State, check_rank, require_supported
from conformance.backends.adapters.windows import (
    call_batched,
    pad_pairs,
    padding_of,
    per_dimension,
    pooling_window,
)
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_CHANNELS_FIRST = {"data_format": "channels_first"}


class Windows(FunctionBackend):
    """The part of Keras's adapter for pooling, padding and upsampling."""

    @implements(*names_for_dims("MaxPool{}d", "AvgPool{}d"), ignores=("count_include_pad",))
    def pool(
        self, state: State, x: Any, *, call: Call, kernel_size: Any, stride: Any = None,
        padding: Any = 0, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """`MaxPooling1D` and so on."""
        dims = spatial_dims(call.layer)
        if any(per_dimension(padding, dims)):
            raise Unsupported("padding by numbers")
        require_supported(dilation=(per_dimension(dilation, dims), (1,) * dims))
        sizes, strides = pooling_window(dims, kernel_size, stride)
        name = f"{'Max' if 'Max' in call.layer else 'Average'}Pooling{dims}D"
        return _call_batched(
            name, call, x, dims, pool_size=sizes, strides=strides, **_CHANNELS_FIRST
        )

    @implements(*names_for_dims("AdaptiveMaxPool{}d", "AdaptiveAvgPool{}d"))
    def adaptive_pool(self, state: State, x: Any, *, call: Call, output_size: Any) -> Any:
        """`AdaptiveMaxPooling1D` and so on."""
        dims = spatial_dims(call.layer)
        if output_size is None or None in (sizes := per_dimension(output_size, dims)):
            raise Unsupported("an output size of None")
        if 0 in sizes:
            raise Unsupported("an output size of 0")
        name = f"Adaptive{'Max' if 'Max' in call.layer else 'Average'}Pooling{dims}D"
        return _call_batched(name, call, x, dims, output_size=sizes, **_CHANNELS_FIRST)

    @implements(*names_for_dims("ZeroPad{}d"))
    def zero_pad(self, state: State, x: Any, *, call: Call, padding: Any) -> Any:
        """`ZeroPadding1D` and so on; torch's list begins with the last axis."""
        dims, (_, numbers) = spatial_dims(call.layer), padding_of(call.layer, padding)
        if len(numbers) != 2 * dims:
            raise ValueError(f"{call.layer}: padding={padding!r}")
        if min(numbers) < 0:
            raise Unsupported("negative padding")
        sides = tuple(pad_pairs(numbers, dims))
        arguments = {"padding": sides[0] if dims == 1 else sides, **_CHANNELS_FIRST}
        return _call_batched(f"ZeroPadding{dims}D", call, x, dims, **arguments)

    @implements("Upsample", "UpsamplingNearest2d")
    def upsample(
        self, state: State, x: Any, *, call: Call, size: Any = None, scale_factor: Any = None,
        mode: str = "nearest", align_corners: bool | None = None,
    ) -> Any:  # fmt: skip
        """`UpSampling2D` and `UpSampling3D`, which repeat each element a whole number of times."""
        require_supported(
            size=(size, None), mode=(mode, "nearest"), align_corners=(align_corners, None)
        )
        dims = x.ndim - 2
        if dims not in (2, 3):
            raise Unsupported(f"an input of {x.ndim} axes")
        factors = (scale_factor,) * dims if isinstance(scale_factor, (int, float)) else scale_factor
        if factors is None or any(not float(f).is_integer() or f < 1 for f in factors):
            raise Unsupported(f"scale_factor={scale_factor!r}")
        repeats = tuple(int(f) for f in factors)
        return _call_batched(f"UpSampling{dims}D", call, x, dims, size=repeats, **_CHANNELS_FIRST)


def _call_batched(name: str, call: Call, x: Any, dims: int, **arguments: Any) -> Any:
    check_rank(call.layer, x, dims + 1, dims + 2)
    shape = (None,) * (dims + 2)
    return call_batched(
        lambda x: call_layer(name, call.dtype, x, shape=shape, **arguments), x, dims
    )
