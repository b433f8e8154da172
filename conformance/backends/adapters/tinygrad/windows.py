"""tinygrad's pooling, padding and interpolation: methods of `Tensor` for any number of axes."""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State, require_supported
from conformance.backends.adapters.windows import LINEAR, call_spatial, padding_of
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_MODES = {name: name for name in ("nearest", "nearest-exact")} | dict.fromkeys(LINEAR, "linear")


class Windows(FunctionBackend):
    """The part of tinygrad's adapter for pooling, padding and interpolation."""

    @implements(
        *names_for_dims("MaxPool{}d", "functional.max_pool{}d"),
        passes=("dilation", "padding", "ceil_mode", "return_indices"),
    )
    def max_pool(
        self, state: State, x: Any, *, call: Call, kernel_size: Any, stride: Any = None,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.max_pool2d`."""
        arguments |= {
            "kernel_size": _per_axis(kernel_size, spatial_dims(call.layer)),
            "stride": stride,
        }
        return call_spatial(lambda x: x.max_pool2d(**arguments), call.layer, x)

    @implements(
        *names_for_dims("AvgPool{}d", "functional.avg_pool{}d"),
        passes=("padding", "ceil_mode", "count_include_pad"),
    )
    def avg_pool(
        self, state: State, x: Any, *, call: Call, kernel_size: Any, stride: Any = None,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.avg_pool2d`."""
        arguments |= {
            "kernel_size": _per_axis(kernel_size, spatial_dims(call.layer)),
            "stride": stride,
        }
        return call_spatial(lambda x: x.avg_pool2d(**arguments), call.layer, x)

    @implements(
        *names_for_dims("ReflectionPad{}d", "ReplicationPad{}d", "CircularPad{}d"),
        *names_for_dims("ZeroPad{}d", "ConstantPad{}d"),
        passes=("value",),
    )
    def pad(self, state: State, x: Any, *, call: Call, padding: Any, **arguments: Any) -> Any:
        """`Tensor.pad`, whose numbers begin with the last axis, as torch's do."""
        mode, pads = padding_of(call.layer, padding)
        return call_spatial(lambda x: x.pad(pads, mode, **arguments), call.layer, x)

    @implements("functional.pad")
    def functional_pad(
        self, state: State, input: Any, *, pad: Any, mode: str = "constant",
        value: float | None = None,
    ) -> Any:  # fmt: skip
        """`Tensor.pad`."""
        return input.pad(tuple(pad), mode, 0.0 if value is None else value)

    @implements("functional.interpolate", "Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d")
    def interpolate(
        self, state: State, x: Any, *, call: Call, size: Any = None, scale_factor: Any = None,
        mode: str | None = None, align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None, antialias: bool = False,
    ) -> Any:  # fmt: skip
        """`Tensor.interpolate`, to a size."""
        if call.layer == "UpsamplingBilinear2d":
            mode, align_corners = "bilinear", True
        mode = mode or "nearest"
        if mode not in _MODES:
            raise Unsupported(f"mode={mode!r}")
        require_supported(scale_factor=(scale_factor, None), antialias=(antialias, False))
        if x.ndim not in (3, 4, 5) or LINEAR.get(mode, x.ndim - 2) != x.ndim - 2:
            raise ValueError(f"mode={mode!r} of an input of {x.ndim} axes")
        if align_corners is not None and mode not in LINEAR:
            raise ValueError(f"align_corners with mode={mode!r}")
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor of a size")
        return x.interpolate(_per_axis(size, x.ndim - 2), _MODES[mode], bool(align_corners))


def _per_axis(value: Any, dims: int) -> tuple[int, ...]:
    """One number for each axis; tinygrad infers the number of axes from their count."""
    numbers = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(numbers) != dims:
        raise ValueError(f"{value!r} for {dims} axes")
    return numbers
