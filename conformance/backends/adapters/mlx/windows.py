"""MLX's pooling, padding and upsampling.

MLX pools complete windows only, and divides by their full size. It pads by constants, edges and
reflections. It resizes by a factor, not to a size, and agrees with torch where the ratio is whole.
"""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.mlx.parts import call_spatial_last
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State, require_supported
from conformance.backends.adapters.windows import (
    LINEAR,
    PAD_MODES,
    call_channels_last,
    pad_pairs,
    padding_of,
)
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_SCALES = {
    "nearest": ("nearest", 0), **{mode: ("linear", dims) for mode, dims in LINEAR.items()},
    "bicubic": ("cubic", 2),
}  # fmt: skip
"""torch's mode → (MLX's mode, number of spatial axes in torch; 0 = any)."""


class Windows(FunctionBackend):
    """The part of MLX's adapter for pooling, padding and upsampling."""

    @implements(
        *names_for_dims("MaxPool{}d", "AvgPool{}d"), passes=("kernel_size", "stride", "padding")
    )
    def pool(self, state: State, x: Any, *, call: Call, dilation: Any = 1, **arguments: Any) -> Any:
        """`nn.MaxPool1d` and so on."""
        if dilation not in (1, (1,) * spatial_dims(call.layer)):
            raise Unsupported(f"dilation={dilation!r}")
        return call_spatial_last(getattr(nn, call.layer)(**arguments), call.layer, x)

    @implements(
        *names_for_dims("ReflectionPad{}d", "ReplicationPad{}d", "ZeroPad{}d", "ConstantPad{}d")
    )
    def pad(
        self, state: State, x: Any, *, call: Call, padding: Any, value: float | None = None
    ) -> Any:
        """`mx.pad`."""
        dims, (mode, pads) = spatial_dims(call.layer), padding_of(call.layer, padding)
        if len(pads) != 2 * dims or x.ndim not in (dims + 1, dims + 2):
            raise ValueError(f"{call.layer}: padding={padding!r} of an input of {x.ndim} axes")
        return _pad_array(x, pads, mode, value)

    @implements("functional.pad")
    def functional_pad(
        self, state: State, input: Any, *, pad: Any, mode: str = "constant",
        value: float | None = None,
    ) -> Any:  # fmt: skip
        """`mx.pad`; torch's pairs begin with the last axis."""
        if len(pad) % 2 or len(pad) > 2 * input.ndim:
            raise ValueError(f"pad={pad!r} of an input of {input.ndim} axes")
        return _pad_array(input, tuple(pad), mode, value)

    @implements("Upsample", "functional.interpolate", "UpsamplingNearest2d", "UpsamplingBilinear2d")
    def upsample(
        self, state: State, x: Any, *, call: Call, size: Any = None, scale_factor: Any = None,
        mode: str = "nearest", align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None, antialias: bool = False,
    ) -> Any:  # fmt: skip
        """`nn.Upsample`, by those factors for which MLX documents no difference from torch."""
        require_supported(
            size=(size, None), recompute_scale_factor=(recompute_scale_factor or None, None)
        )
        if call.layer == "UpsamplingBilinear2d":
            mode, align_corners = "bilinear", True
        if mode not in _SCALES:
            raise Unsupported(f"mode={mode!r}")
        mlx_mode, dims = _SCALES[mode]
        if x.ndim not in (3, 4, 5) or dims not in (0, x.ndim - 2):
            raise ValueError(f"mode={mode!r} of an input of {x.ndim} axes")
        if align_corners is not None and mlx_mode == "nearest":
            raise ValueError(f"align_corners with mode={mode!r}")
        if scale_factor is None:
            raise ValueError("neither size nor scale_factor")
        if antialias and align_corners:
            raise Unsupported("antialias=True with align_corners=True")
        if not align_corners:
            _require_whole_ratio(x.shape[2:], scale_factor, smaller=antialias)
        factor = scale_factor if isinstance(scale_factor, tuple) else float(scale_factor)
        layer = nn.Upsample(factor, mlx_mode, bool(align_corners), antialias)
        return call_channels_last(layer, x, mx.moveaxis)


def _require_whole_ratio(lengths: tuple[int, ...], factor: Any, *, smaller: bool) -> None:
    """Decline a factor unless one length is a multiple of the other.

    For other factors MLX documents that it selects other elements than torch.

    Args:
        smaller: also decline outputs longer than the input, as MLX documents for antialiasing.

    Raises:
        Unsupported: for any other factor.
    """
    factors = factor if isinstance(factor, tuple) else (factor,) * len(lengths)
    for length, f in zip(lengths, factors, strict=False):
        if not 0 < f < math.inf:
            continue  # MLX itself refuses it
        multiple = f if f >= 1 else 1 / f
        if multiple != int(multiple) or length * f != int(length * f) or (smaller and f > 1):
            raise Unsupported(f"scale_factor={f!r} of length {length}")


def _pad_array(x: Any, pads: tuple[int, ...], mode: str, value: float | None) -> Any:
    """Pad by pairs of numbers that begin with the last axis."""
    if mode not in PAD_MODES or mode == "circular":
        raise Unsupported(f"mode={mode!r}")
    if any(p < 0 for p in pads):
        raise Unsupported("negative padding")
    if mode != "constant" and value is not None:
        raise ValueError(f"value={value!r} with mode={mode!r}")  # mx.pad ignores it
    return mx.pad(x, pad_pairs(pads, x.ndim), PAD_MODES[mode], 0 if value is None else value)
