"""tinygrad's pooling, padding and interpolation: methods of `Tensor`, of any number of axes."""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.tinygrad.parts import State, batched, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_MODES = {
    "nearest": "nearest", "nearest-exact": "nearest-exact",
    "linear": "linear", "bilinear": "linear", "trilinear": "linear",
}  # fmt: skip
_AXES = {"linear": 1, "bilinear": 2, "trilinear": 3}


class Windows(FunctionBackend):
    """The part of tinygrad's adapter for pooling, padding and interpolation."""

    @implements(
        "MaxPool1d", "MaxPool2d", "MaxPool3d",
        "functional.max_pool1d", "functional.max_pool2d", "functional.max_pool3d",
        passes=("dilation", "padding", "ceil_mode", "return_indices"),
    )  # fmt: skip
    def max_pool(
        self, state: State, x: Any, *, call: Call, kernel_size: Any, stride: Any = None,
        **given: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.max_pool2d`."""
        dims = int(call.layer[-2])
        given |= {"kernel_size": _each(kernel_size, dims), "stride": stride}
        return batched(lambda x: x.max_pool2d(**given), call, x)

    @implements(
        "AvgPool1d", "AvgPool2d", "AvgPool3d",
        "functional.avg_pool1d", "functional.avg_pool2d", "functional.avg_pool3d",
        passes=("padding", "ceil_mode", "count_include_pad"),
    )  # fmt: skip
    def avg_pool(
        self, state: State, x: Any, *, call: Call, kernel_size: Any, stride: Any = None,
        divisor_override: int | None = None, **given: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.avg_pool2d`."""
        only(divisor_override=(divisor_override, None))
        dims = int(call.layer[-2])
        given |= {"kernel_size": _each(kernel_size, dims), "stride": stride}
        return batched(lambda x: x.avg_pool2d(**given), call, x)

    @implements(
        *(f"{kind}Pad{n}d" for kind in ("Reflection", "Replication", "Zero") for n in (1, 2, 3)),
        *(f"{kind}Pad{n}d" for kind in ("Constant", "Circular") for n in (1, 2, 3)),
        passes=("value",),
    )
    def pad(self, state: State, x: Any, *, call: Call, padding: Any, **given: Any) -> Any:
        """`Tensor.pad`, from the last axis to the first, as torch's."""
        kinds = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
        mode = kinds.get(call.layer[: -len("Pad1d")], "constant")
        dims = int(call.layer[-2])
        pads = (padding,) * (2 * dims) if isinstance(padding, int) else tuple(padding)
        return batched(lambda x: x.pad(pads, mode, **given), call, x)

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
        only(scale_factor=(scale_factor, None), antialias=(antialias, False))
        if x.ndim not in (3, 4, 5) or _AXES.get(mode, x.ndim - 2) != x.ndim - 2:
            raise ValueError(f"mode={mode!r} of an input of {x.ndim} axes")
        if align_corners is not None and mode not in _AXES:
            raise ValueError(f"align_corners with mode={mode!r}")
        return x.interpolate(_each(size, x.ndim - 2), _MODES[mode], bool(align_corners))


def _each(value: Any, dims: int) -> tuple[int, ...]:
    """A number for each axis; tinygrad reads off the numbers how many axes there are."""
    numbers = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(numbers) != dims:
        raise ValueError(f"{value!r} for {dims} axes")
    return numbers
