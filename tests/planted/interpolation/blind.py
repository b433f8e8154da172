"""Bugs of resizing, written without sight of the checks that are to find them.

A resize is a product with one matrix for each axis. A bug has another matrix for some of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, read_as_contiguous
from planted.several.blind_parts import per_axis, substitute_wrong

Matrix = Callable[["_Axis"], Tensor]
_LINEAR = ("linear", "bilinear", "trilinear")


class _Axis:
    """One axis of a resize.

    Args:
        length, count: of the input and of the output.
        factor: its scale factor; None where a size is given, or the factor is computed anew.
        align: the outermost pixels' centres are kept.
        place: of the axis among the spatial ones.
    """

    def __init__(self, length: int, count: int, factor: float | None, align: bool, place: int):
        self.length, self.count, self.factor = length, count, factor
        self.align, self.place = align, place

    @property
    def scale(self) -> float:
        """Input pixels for each output pixel."""
        if self.align:
            return (self.length - 1) / (self.count - 1) if self.count > 1 else 0.0
        return self.length / self.count if self.factor is None else 1.0 / self.factor

    @property
    def output_indices(self) -> Tensor:
        """0, 1, …, one for each output."""
        return torch.arange(self.count, dtype=torch.float64)

    @property
    def source_positions(self) -> Tensor:
        """Where each output lies, in pixels of the input."""
        return (
            self.output_indices * self.scale
            if self.align
            else (self.output_indices + 0.5) * self.scale - 0.5
        )

    def replace(self, **changes: Any) -> _Axis:
        """The axis, but for some facts."""
        fields = {k: getattr(self, k) for k in ("length", "count", "factor", "align", "place")}
        return _Axis(**{**fields, **changes})

    def matrix(self, places: Tensor, weights: Tensor) -> Tensor:
        """The matrix that has some weights at some places, which are clamped to the input."""
        matrix = torch.zeros(self.count, self.length, dtype=torch.float64)
        return matrix.scatter_add(1, places.long().clamp(0, self.length - 1), weights)


def _nearest(axis: _Axis) -> Tensor:
    positions = (axis.output_indices * axis.scale).floor()[:, None]
    return axis.matrix(positions, torch.ones_like(positions))


def _nearest_exact(axis: _Axis) -> Tensor:
    positions = ((axis.output_indices + 0.5) * axis.scale).floor()[:, None]
    return axis.matrix(positions, torch.ones_like(positions))


def _interpolate_linearly(axis: _Axis, source: Tensor) -> Tensor:
    positions, fraction = source.floor(), source - source.floor()
    return axis.matrix(
        torch.stack([positions, positions + 1], 1), torch.stack([1 - fraction, fraction], 1)
    )


def _linear(axis: _Axis) -> Tensor:
    if axis.length == axis.count:
        return torch.eye(axis.length, dtype=torch.float64)  # whatever the factor is
    return _interpolate_linearly(axis, axis.source_positions.clamp(min=0))


def _cubic_kernel(x: Tensor, a: float) -> Tensor:
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _cubic_taps(axis: _Axis, source: Tensor, a: float) -> tuple[Tensor, Tensor]:
    places = source.floor()[:, None] + torch.arange(-1, 3, dtype=torch.float64)
    return places, _cubic_kernel(source[:, None] - places, a)


def _cubic(axis: _Axis, a: float = -0.75) -> Tensor:
    return axis.matrix(*_cubic_taps(axis, axis.source_positions, a))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _lanczos(x: Tensor, lobes: int) -> Tensor:
    window = torch.sinc(x) * torch.sinc(x / lobes)
    return torch.where(x.abs() < lobes, window, torch.zeros_like(x))


_FILTERS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, lambda x: _cubic_kernel(x, -0.5)),
    "lanczos": (3.0, lambda x: _lanczos(x, 3)),
}


def _filter_matrix(
    axis: _Axis,
    radius: float,
    curve: Callable[[Tensor], Tensor],
    widened: bool = True,
    normalised: bool = True,
) -> Tensor:
    """The matrix of a filter that is as wide as an output pixel."""
    width = max(axis.scale, 1.0) if widened else 1.0
    centre = ((axis.output_indices + 0.5) * axis.scale)[:, None]
    positions = torch.arange(axis.length, dtype=torch.float64)[None, :]
    start = (centre - radius * width + 0.5).floor()
    end = (centre + radius * width + 0.5).floor()
    weights = curve((positions - centre + 0.5) / width).masked_fill(
        (positions < start) | (positions >= end), 0.0
    )
    total = weights.sum(1, keepdim=True)
    if not normalised:
        total = curve((start - centre + 0.5 + torch.arange(64)) / width).sum(1, keepdim=True)
    return weights / torch.where(total == 0, torch.ones_like(total), total)


def _area(axis: _Axis) -> Tensor:
    length, count = axis.length, axis.count
    positions = torch.arange(length)[None, :]
    step = torch.arange(count)[:, None]
    inside = (positions >= step * length // count) & (positions < -(-(step + 1) * length // count))
    return inside.double() / inside.sum(1, keepdim=True)


class _Resize:
    """A call of `interpolate`, taken apart.

    Args:
        input, result: torch's.
        arguments: the other arguments of `interpolate`, by name.
    """

    def __init__(self, input: Tensor, result: Tensor, **arguments: Any) -> None:
        self.input, self.result = input, result
        self.mode = arguments.get("mode", "nearest")
        self.align = bool(arguments.get("align_corners"))
        self.smooth = bool(arguments.get("antialias"))
        self.given = arguments.get("scale_factor")
        self.again = bool(arguments.get("recompute_scale_factor"))
        self.dims = input.dim() - 2
        factors: Any = (None,) * self.dims
        if self.given is not None and not self.again:
            factors = per_axis(self.given, self.dims)
        rows = zip(input.shape[2:], result.shape[2:], factors, strict=True)
        self.axes = [
            _Axis(length, count, factor, self.align, k)
            for k, (length, count, factor) in enumerate(rows)
        ]
        self.plain = result.numel() > 0 and result.is_floating_point()

    @property
    def matrix(self) -> Matrix:
        """torch's."""
        if self.smooth:
            radius, curve = _FILTERS[self.mode]
            return lambda axis: _filter_matrix(axis, radius, curve)
        if self.mode in _LINEAR:
            return _linear
        modes = {"nearest": _nearest, "nearest-exact": _nearest_exact, "bicubic": _cubic}
        return modes.get(self.mode, _area)

    def resize(self, matrix: Matrix, input: Tensor) -> Tensor:
        """An input resized by some matrices, in float64."""
        value = input.double()
        for axis in self.axes:
            dimension = 2 + axis.place
            value = (value.movedim(dimension, -1) @ matrix(axis).T).movedim(-1, dimension)
        return value

    def replace_values(self, matrix: Matrix) -> Tensor:
        """The result as another matrix makes it."""
        if not self.plain:
            return self.result
        input = self.input.detach()
        return substitute_wrong(
            self.result, self.resize(self.matrix, input), self.resize(matrix, input)
        )

    def replace_gradients(self, matrix: Matrix) -> Tensor:
        """The result, with the gradients of another matrix."""
        return graft(self.result, self.resize(matrix, self.input)) if self.plain else self.result


def _parse_call(module: nn.Upsample, input: Tensor, result: Tensor) -> _Resize:
    return _Resize(
        input,
        result,
        scale_factor=module.scale_factor,
        mode=module.mode,
        align_corners=module.align_corners,
        recompute_scale_factor=module.recompute_scale_factor,
    )


def _plant(name: str, check: str) -> Callable[[Callable[[_Resize], Tensor]], Any]:
    """Plant a bug of `functional.interpolate`, given as what it makes of a call."""

    def register(wrong: Callable[[_Resize], Tensor]) -> Any:
        def interpolate(
            input: Tensor,
            size: Any = None,
            scale_factor: Any = None,
            mode: str = "nearest",
            align_corners: bool | None = None,
            recompute_scale_factor: bool | None = None,
            antialias: bool = False,
        ) -> Tensor:
            arguments = {
                "size": size,
                "scale_factor": scale_factor,
                "mode": mode,
                "align_corners": align_corners,
                "recompute_scale_factor": recompute_scale_factor,
                "antialias": antialias,
            }
            result = functional.interpolate(input, **arguments)
            return wrong(_Resize(input, result, **arguments))

        interpolate.__doc__ = wrong.__doc__
        return blind(name, "functional.interpolate", check)(interpolate)

    return register


# Nearest


@_plant("functional-interpolate-nearest-rounded", "values")
def functional_interpolate_nearest_rounded(call: _Resize) -> Tensor:
    """Mode "nearest" takes round(i·scale), not ⌊i·scale⌋: TensorFlow's with aligned corners."""

    # Differs: 3 to 5. Agrees: 4 to 2, and mode="nearest-exact".
    def rounded(axis: _Axis) -> Tensor:
        positions = (axis.output_indices * axis.scale + 0.5).floor()[:, None]
        return axis.matrix(positions, torch.ones_like(positions))

    return call.replace_values(rounded) if call.mode == "nearest" else call.result


@blind("upsample-nearest-by-centres", "Upsample", "values")
class UpsampleNearestByCentres(nn.Upsample):
    """Mode "nearest" is nearest-exact: half-pixel centres, as ONNX's Resize has by default."""

    # Differs: 4 to 2. Agrees: 2 to 4.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        return call.replace_values(_nearest_exact) if self.mode == "nearest" else call.result


@blind("upsamplingnearest2d-whole-factors", "UpsamplingNearest2d", "values")
class UpsamplingNearest2dWholeFactors(nn.UpsamplingNearest2d):
    """Each pixel is repeated ⌈o/n⌉ times, and what is too much is cut off."""

    # Differs: 3x3 to 4. Agrees: 3x3 to 6.
    def forward(self, input: Tensor) -> Tensor:
        def repeated(axis: _Axis) -> Tensor:
            positions = (axis.output_indices // -(-axis.count // axis.length))[:, None]
            return axis.matrix(positions, torch.ones_like(positions))

        return _parse_call(self, input, super().forward(input)).replace_values(repeated)


@blind("upsamplingnearest2d-gradient-averaged", "UpsamplingNearest2d", "gradients")
class UpsamplingNearest2dGradientAveraged(nn.UpsamplingNearest2d):
    """Backward is an average pool: a pixel's gradient is the mean of its copies', not the sum."""

    # Differs: the gradient by a factor of 2. Agrees: by a factor of 1.
    def forward(self, input: Tensor) -> Tensor:
        def mean(axis: _Axis) -> Tensor:
            matrix = _nearest(axis)
            return matrix / matrix.sum(0, keepdim=True).clamp(min=1)

        return _parse_call(self, input, super().forward(input)).replace_gradients(mean)


@_plant("functional-interpolate-nearest-gradient-of-the-last", "gradients")
def functional_interpolate_nearest_gradient_of_last(call: _Resize) -> Tensor:
    """Backward of "nearest" writes in place of adding: the last copy's gradient stays."""

    # Differs: the gradient of 2 to 4. Agrees: of 4 to 2.
    def last(axis: _Axis) -> Tensor:
        matrix = _nearest(axis)
        later_copies = matrix.flip(0).cumsum(0).flip(0) - matrix
        return matrix * (later_copies == 0)

    return call.replace_gradients(last) if call.mode == "nearest" else call.result


@blind("functional-interpolate-nearest-by-a-matrix", "functional.interpolate", "special")
def functional_interpolate_nearest_by_matrix(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """A matrix of zeros and ones is multiplied with: 0·NaN and 0·∞ fill the image with NaN."""
    # Differs: a NaN somewhere. Agrees: finite images.
    result = functional.interpolate(
        input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )
    if mode not in ("nearest", "nearest-exact") or not input.is_floating_point():
        return result
    space = tuple(range(2, input.dim()))
    odd = (~input.detach().isfinite()).sum(space, keepdim=True)
    nonfinite = (~result.detach().isfinite()).to(odd.dtype)
    return graft(result.detach().masked_fill(odd > nonfinite, torch.nan), result)


# Scales and sizes


@_plant("functional-interpolate-scale-from-sizes", "values")
def functional_interpolate_scale_from_sizes(call: _Resize) -> Tensor:
    """The scale is always n/o: right where n·scale_factor is whole (rten 1418, ncnn 3555)."""
    # Differs: 5 by 1.5, bilinear. Agrees: 4 by 1.5.
    matrix = call.matrix
    return call.replace_values(lambda axis: matrix(axis.replace(factor=None)))


@_plant("functional-interpolate-recompute-ignored", "values")
def functional_interpolate_recompute_ignored(call: _Resize) -> Tensor:
    """`recompute_scale_factor=True` is ignored: the factor is used as it is given."""
    # Differs: 5 by 1.5, bilinear, True. Agrees: False.
    if not call.again or call.mode == "area":
        return call.result
    factors, matrix = per_axis(call.given, call.dims), call.matrix
    return call.replace_values(lambda axis: matrix(axis.replace(factor=factors[axis.place])))


@blind("upsample-corners-not-aligned-by-a-factor", "Upsample", "values")
class UpsampleCornersNotAlignedByFactor(nn.Upsample):
    """`align_corners` is heeded with a size and forgotten with a scale factor (mlx 3908)."""

    # Differs: scale_factor=2, align_corners=True. Agrees: size=4.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        if call.given is None or not call.align:
            return call.result
        matrix = call.matrix
        return call.replace_values(lambda axis: matrix(axis.replace(align=False)))


@_plant("functional-interpolate-lone-aligned-output-in-the-middle", "values")
def functional_interpolate_lone_aligned_output_in_middle(call: _Resize) -> Tensor:
    """With aligned corners an output of one pixel is the middle; torch's is the first pixel.

    What is done about the division by o − 1 (mlx 3769).
    """
    # Differs: 3 to 1, align_corners=True. Agrees: 3 to 2.
    if not call.align or call.smooth:
        return call.result
    matrix = call.matrix

    def centred(axis: _Axis) -> Tensor:
        is_single = axis.count == 1 and axis.length > 1
        return matrix(axis.replace(align=False, factor=None) if is_single else axis)

    return call.replace_values(centred)


@blind("upsample-lone-output-of-the-first-pixel", "Upsample", "values")
class UpsampleLoneOutputOfFirstPixel(nn.Upsample):
    """ONNX's pytorch_half_pixel: an output of one pixel is the first one, not the centre.

    onnx 4276; torch once did so itself.
    """

    # Differs: 4 to 1, linear. Agrees: 4 to 2.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        matrix = call.matrix
        if call.mode not in (*_LINEAR, "bicubic"):
            return call.result

        def first(axis: _Axis) -> Tensor:
            return matrix(axis.replace(align=True) if axis.count == 1 else axis)

        return call.replace_values(first)


@blind("upsample-depth-by-the-height", "Upsample", "values")
class UpsampleDepthByHeight(nn.Upsample):
    """Of volumes the depth is scaled as the height is: wrong where the two differ."""

    # Differs: size=(4, 2, 2) of 2x2x2. Agrees: size=4.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        if call.dims != 3 or call.align or call.mode == "area":
            return call.result
        matrix, ratio = call.matrix, call.axes[1].scale

        def borrowed(axis: _Axis) -> Tensor:
            if axis.place or axis.scale == ratio:
                return matrix(axis)
            # Where sizes agree linear modes copy, whatever the factor: not here.
            return (
                _interpolate_linearly(
                    axis, ((axis.output_indices + 0.5) * ratio - 0.5).clamp(min=0)
                )
                if (call.mode in _LINEAR)
                else matrix(axis.replace(factor=1 / ratio))
            )

        return call.replace_values(borrowed)


@blind("upsample-factors-from-the-last-axis", "Upsample", "shape")
class UpsampleFactorsFromLastAxis(nn.Upsample):
    """Scale factors are taken as (width, height), as OpenCV takes them."""

    # Differs: scale_factor=(1, 2). Agrees: scale_factor=2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not isinstance(self.scale_factor, (tuple, list)):
            return result
        original, self.scale_factor = self.scale_factor, tuple(reversed(self.scale_factor))
        try:
            return super().forward(input)
        except RuntimeError:
            return result  # a size of 0
        finally:
            self.scale_factor = original


@blind("upsample-size-of-the-shorter-side", "Upsample", "shape")
class UpsampleSizeOfShorterSide(nn.Upsample):
    """One number for a size is that of the shorter side, as torchvision's resize takes it."""

    # Differs: size=4 of 2x3. Agrees: size=4 of 2x2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        space = input.shape[2:]
        if not isinstance(self.size, int) or len(set(space)) < 2:
            return result
        original, shorter = self.size, min(space)
        self.size = tuple(original * length // shorter for length in space)
        try:
            return super().forward(input)
        finally:
            self.size = original


@blind("functional-interpolate-size-rounded", "functional.interpolate", "shape")
def functional_interpolate_size_rounded(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The output's length is n·scale_factor rounded to the nearest number, not down."""
    # Differs: 5 by 1.5, 8 for 7. Agrees: 4 by 1.5.
    options = (mode, align_corners)
    result = functional.interpolate(
        input, size, scale_factor, *options, recompute_scale_factor, antialias
    )
    if scale_factor is None:
        return result
    factors = per_axis(scale_factor, input.dim() - 2)
    sizes = [round(n * f) for n, f in zip(input.shape[2:], factors, strict=True)]
    if tuple(sizes) == tuple(result.shape[2:]):
        return result
    return functional.interpolate(input, sizes, None, *options, None, antialias)


@blind("upsample-first-size-for-ever", "Upsample", "repeat")
class UpsampleFirstSizeForEver(nn.Upsample):
    """The size that a factor comes to is computed at the first call, as an export does."""

    # Differs: 2 by 2, then 3 by 2. Agrees: the first call.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.scale_factor is None:
            return result
        sizes = self.__dict__.setdefault("sizes", {})
        size = sizes.setdefault(input.dim(), tuple(result.shape[2:]))
        if size == tuple(result.shape[2:]):
            return result
        return functional.interpolate(input, size, None, self.mode, self.align_corners)


# Linear


@blind("upsample-linear-beyond-the-edge", "Upsample", "values")
class UpsampleLinearBeyondEdge(nn.Upsample):
    """A coordinate below 0 is cut to pixel 0 as an integer, and its weight goes on below 0.

    The first pixels are extrapolated, by as much as half the difference of the first two.
    """

    # Differs: 2 to 4. Agrees: 4 to 2, and align_corners=True.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        if call.mode not in _LINEAR:
            return call.result

        def beyond(axis: _Axis) -> Tensor:
            if axis.length == axis.count:
                return _linear(axis)
            positions = axis.source_positions.trunc()
            fraction = axis.source_positions - positions
            return axis.matrix(
                torch.stack([positions, positions + 1], 1), torch.stack([1 - fraction, fraction], 1)
            )

        return call.replace_values(beyond)


@_plant("functional-interpolate-weights-of-a-texture-unit", "values")
def functional_interpolate_weights_of_texture_unit(call: _Resize) -> Tensor:
    """Weights have 8 bits behind the point, as a GPU's texture unit has them."""

    # Differs: 3 to 5, linear. Agrees: 2 to 4.
    def coarse(axis: _Axis) -> Tensor:
        return (_linear(axis) * 256).round() / 256

    return call.replace_values(coarse) if call.mode in _LINEAR and not call.smooth else call.result


@_plant("functional-interpolate-coordinates-in-half", "values")
def functional_interpolate_coordinates_in_half(call: _Resize) -> Tensor:
    """Of half-precision images the coordinates are in half precision, too: off by 2% of a pixel
    in bfloat16 from the fifth pixel on.
    """
    # Differs: 7 to 10 in bfloat16. Agrees: float32, and 4 to 8.
    if (
        call.input.dtype not in (torch.float16, torch.bfloat16)
        or call.mode not in _LINEAR
        or call.smooth
    ):
        return call.result

    def short(axis: _Axis) -> Tensor:
        if axis.length == axis.count:
            return _linear(axis)
        scale = torch.tensor(axis.scale, dtype=call.input.dtype)
        steps = axis.output_indices.to(call.input.dtype)
        source = steps * scale if axis.align else (steps + 0.5) * scale - 0.5
        return _interpolate_linearly(axis, source.double().clamp(min=0))

    return call.replace_values(short)


@blind("upsample-gradient-never-aligned", "Upsample", "gradients")
class UpsampleGradientNeverAligned(nn.Upsample):
    """Forward heeds `align_corners`, backward does not."""

    # Differs: the gradient of 2 to 4, linear, align_corners=True. Agrees: False.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        if not call.align:
            return call.result
        matrix = call.matrix
        return call.replace_gradients(lambda axis: matrix(axis.replace(align=False, factor=None)))


@blind("upsample-portraits-lose-a-columns-gradient", "Upsample", "gradients")
class UpsamplePortraitsLoseColumnsGradient(nn.Upsample):
    """The bilinear backward pass strides by the height: of portraits the last column is not
    reached (torch-xpu-ops 4322).
    """

    # Differs: the gradient of 3x2 to 6x4, bilinear. Agrees: of 2x3 to 4x6.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        portrait = result.dim() == 4 and result.shape[2] > result.shape[3]
        if self.mode != "bilinear" or not portrait:
            return result
        last = torch.arange(result.shape[3]) == result.shape[3] - 1
        return alter_gradient(result, lambda g: g.masked_fill(last, 0.0))


@blind("functional-interpolate-many-channels-last", "functional.interpolate", "layout")
def functional_interpolate_many_channels_last(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Four channels and more in channels_last memory are read as if it were contiguous."""
    # Differs: (1, 4, 2, 2) in channels_last. Agrees: (1, 3, 2, 2) in channels_last.
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    source = read_as_contiguous(input) if last and input.shape[1] >= 4 else input
    return functional.interpolate(
        source, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias
    )


@blind("upsamplingbilinear2d-corners-not-aligned", "UpsamplingBilinear2d", "values")
class UpsamplingBilinear2dCornersNotAligned(nn.UpsamplingBilinear2d):
    """It is Upsample in mode "bilinear"; that it aligns corners is overlooked."""

    # Differs: 2x2 to 4. Agrees: 2x2 to 2.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        return call.replace_values(lambda axis: _linear(axis.replace(align=False)))


@blind("upsamplingbilinear2d-last-pixel-repeated", "UpsamplingBilinear2d", "values")
class UpsamplingBilinear2dLastPixelRepeated(nn.UpsamplingBilinear2d):
    """The scale is n/o and not (n − 1)/(o − 1): TensorFlow 1's default, without half pixels."""

    # Differs: 2x2 to 4. Agrees: 2x2 to 2, and 3x3 to 1.
    def forward(self, input: Tensor) -> Tensor:
        def asymmetric(axis: _Axis) -> Tensor:
            return _interpolate_linearly(axis, axis.output_indices * (axis.length / axis.count))

        return _parse_call(self, input, super().forward(input)).replace_values(asymmetric)


# Cubic


@_plant("functional-interpolate-cubic-of-keys", "values")
def functional_interpolate_cubic_of_keys(call: _Resize) -> Tensor:
    """The cubic's coefficient is −0.5, as of Keys, Pillow and JAX, not −0.75 (jax 15768)."""
    # Differs: 4x4 to 6, bicubic. Agrees: antialias=True.
    applies = call.mode == "bicubic" and not call.smooth
    return call.replace_values(lambda axis: _cubic(axis, -0.5)) if applies else call.result


@_plant("functional-interpolate-cubic-gradient-of-keys", "gradients")
def functional_interpolate_cubic_gradient_of_keys(call: _Resize) -> Tensor:
    """Forward has the coefficient −0.75, backward −0.5."""
    # Differs: the gradient of 4x4 to 6, bicubic. Agrees: antialias=True.
    applies = call.mode == "bicubic" and not call.smooth
    return call.replace_gradients(lambda axis: _cubic(axis, -0.5)) if applies else call.result


@blind("upsample-cubic-leaves-out-what-is-outside", "Upsample", "values")
class UpsampleCubicLeavesOutWhatIsOutside(nn.Upsample):
    """Taps outside have no weight, and the others are normalised: ONNX's `exclude_outside`."""

    # Differs: 4x4 to 6, bicubic. Agrees: 4x4 to 4.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        if call.mode != "bicubic":
            return call.result

        def inside(axis: _Axis) -> Tensor:
            places, weights = _cubic_taps(axis, axis.source_positions, -0.75)
            weights = weights.masked_fill((places < 0) | (places >= axis.length), 0.0)
            return axis.matrix(places, weights / weights.sum(1, keepdim=True))

        return call.replace_values(inside)


@blind("upsample-cubic-from-the-edge-on", "Upsample", "values")
class UpsampleCubicFromEdgeOn(nn.Upsample):
    """The coordinate is cut off at 0, as in the linear modes, before the taps are taken."""

    # Differs: 2x2 to 4, bicubic. Agrees: 4x4 to 2, and align_corners=True.
    def forward(self, input: Tensor) -> Tensor:
        call = _parse_call(self, input, super().forward(input))
        if call.mode != "bicubic":
            return call.result
        return call.replace_values(
            lambda axis: axis.matrix(*_cubic_taps(axis, axis.source_positions.clamp(min=0), -0.75))
        )


@_plant("functional-interpolate-cubic-kept-where-sizes-agree", "values")
def functional_interpolate_cubic_kept_where_sizes_agree(call: _Resize) -> Tensor:
    """Where input and output are of one size the input is returned, though the factor is not 1."""
    # Differs: 4x4 by 1.2, bicubic. Agrees: 4x4 by 1.5; 4x4 to 4.
    if call.mode != "bicubic" or call.smooth or any(x.length != x.count for x in call.axes):
        return call.result
    return call.replace_values(lambda axis: torch.eye(axis.length, dtype=torch.float64))


# Antialiasing


@_plant("functional-interpolate-smooth-cubic-of-opencv", "values")
def functional_interpolate_smooth_cubic_of_opencv(call: _Resize) -> Tensor:
    """With `antialias` the coefficient is −0.75 as without it; torch's is −0.5 (mlx-vlm 1243)."""
    # Differs: 6x6 to 4, bicubic, antialias=True. Agrees: False.
    if call.mode != "bicubic" or not call.smooth or call.align:
        return call.result
    return call.replace_values(
        lambda axis: _filter_matrix(axis, 2.0, lambda x: _cubic_kernel(x, -0.75))
    )


@_plant("functional-interpolate-smooth-only-when-shrinking", "values")
def functional_interpolate_smooth_only_when_shrinking(call: _Resize) -> Tensor:
    """An axis that grows has no need of `antialias`, and is done without: another cubic, then."""
    # Differs: 4x4 to 6, bicubic, antialias=True. Agrees: 6x6 to 4.
    if not call.smooth or call.align or call.mode == "lanczos":
        return call.result
    smooth, unsmoothed = call.matrix, _cubic if call.mode == "bicubic" else _linear
    return call.replace_values(lambda axis: unsmoothed(axis) if axis.scale < 1 else smooth(axis))


@_plant("functional-interpolate-filter-not-widened", "values")
def functional_interpolate_filter_not_widened(call: _Resize) -> Tensor:
    """With `antialias` the filter is one input pixel wide, however much the image shrinks."""
    # Differs: 6x6 to 3, bilinear, antialias=True. Agrees: 3x3 to 6.
    if not call.smooth or call.align:
        return call.result
    radius, curve = _FILTERS[call.mode]
    return call.replace_values(lambda axis: _filter_matrix(axis, radius, curve, widened=False))


@_plant("functional-interpolate-smooth-rim-too-dark", "values")
def functional_interpolate_smooth_rim_too_dark(call: _Resize) -> Tensor:
    """Weights are normalised with those outside the image, which then count as black."""
    # Differs: 6x6 to 3, bilinear, antialias=True. Agrees: 6x6 to 6.
    if not call.smooth or call.align or max(x.scale for x in call.axes) > 8:
        return call.result
    radius, curve = _FILTERS[call.mode]
    return call.replace_values(lambda axis: _filter_matrix(axis, radius, curve, normalised=False))


@_plant("functional-interpolate-smooth-gradient-of-few-taps", "gradients")
def functional_interpolate_smooth_gradient_of_few_taps(call: _Resize) -> Tensor:
    """Forward heeds `antialias`, backward does not: only the nearest pixels have a gradient."""
    # Differs: the gradient of 6x6 to 3, bilinear, antialias=True. Agrees: False.
    if not call.smooth or call.mode == "lanczos":
        return call.result
    return call.replace_gradients(_cubic if call.mode == "bicubic" else _linear)


@_plant("functional-interpolate-lanczos-of-two-lobes", "values")
def functional_interpolate_lanczos_of_two_lobes(call: _Resize) -> Tensor:
    """The window has two lobes, not the three that are documented."""
    # Differs: 6x6 to 4, lanczos. Agrees: bicubic.
    if call.mode != "lanczos":
        return call.result
    return call.replace_values(lambda axis: _filter_matrix(axis, 2.0, lambda x: _lanczos(x, 2)))


# Areas


@_plant("functional-interpolate-area-of-parts", "values")
def functional_interpolate_area_of_parts(call: _Resize) -> Tensor:
    """A pixel that an output's area covers in part counts in part, as by OpenCV's INTER_AREA."""

    # Differs: 3 to 2, area. Agrees: 4 to 2, area.
    def parts(axis: _Axis) -> Tensor:
        positions = torch.arange(axis.length, dtype=torch.float64)[None, :]
        start = (axis.output_indices * axis.length / axis.count)[:, None]
        end = ((axis.output_indices + 1) * axis.length / axis.count)[:, None]
        overlap = (torch.minimum(positions + 1, end) - torch.maximum(positions, start)).clamp(min=0)
        return overlap * (axis.count / axis.length)

    return call.replace_values(parts) if call.mode == "area" else call.result


# Errors


@blind("functional-interpolate-size-before-factor", "functional.interpolate", "errors")
def functional_interpolate_size_before_factor(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Of a size and a factor the size is taken, where torch refuses to choose."""
    # Differs: size=4, scale_factor=2. Agrees: size=4.
    return functional.interpolate(
        input,
        size,
        scale_factor if size is None else None,
        mode,
        align_corners,
        recompute_scale_factor,
        antialias,
    )
