"""Bugs of grid_sample and affine_grid, written without sight of the checks that find them.

`_Sampler` is grid_sample in float64, step by step; a bug overrides a step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, read_as_contiguous
from planted.several.blind_parts import substitute_wrong


class _Sampler:
    """grid_sample.

    Args:
        mode, padding, align: its arguments.
        sizes: lengths of the input's spatial axes.
    """

    cubic = -0.75

    def __init__(self, mode: str, padding: str, align: bool, sizes: Sequence[int]) -> None:
        self.mode, self.padding, self.align = mode, padding, align
        self.sizes = tuple(sizes)
        self.volume = len(self.sizes) == 3

    def is_affected(self) -> bool:
        """Whether the call can come out wrong at all."""
        return True

    def coordinates(self, grid: Tensor) -> list[Tensor]:
        """The grid's coordinates in the order of the input's axes."""
        return list(grid.flip(-1).unbind(-1))

    def to_pixels(self, x: Tensor, axis: int) -> Tensor:
        """−1 … 1 in pixels."""
        length = self.sizes[axis]
        return (x + 1) / 2 * (length - 1) if self.align else ((x + 1) * length - 1) / 2

    def reflection_bounds(self, axis: int) -> tuple[float, float]:
        """Where reflection turns."""
        length = self.sizes[axis]
        return (0.0, length - 1.0) if self.align else (-0.5, length - 0.5)

    def reflect(self, x: Tensor, axis: int) -> Tensor:
        """A coordinate that is mirrored until it is inside."""
        low, high = self.reflection_bounds(axis)
        span = high - low
        if span == 0:
            return 0 * x.nan_to_num(0.0, 0.0, 0.0)
        distance = (x - low).abs() % (2 * span)
        return low + torch.where(distance > span, 2 * span - distance, distance)

    def apply_padding(self, x: Tensor, axis: int) -> Tensor:
        """A coordinate that is brought inside, if the padding asks for it."""
        if self.padding == "zeros":
            return x
        x = self.reflect(x, axis) if self.padding == "reflection" else x
        return x.clamp(0, self.sizes[axis] - 1)

    def is_inside(self, positions: Tensor, axis: int) -> Tensor:
        """Which taps are read."""
        return (positions >= 0) & (positions < self.sizes[axis])

    def fraction(self, x: Tensor) -> Tensor:
        """How far a coordinate lies behind the pixel before it."""
        return x - x.detach().floor()

    def round_to_pixel(self, x: Tensor, axis: int) -> Tensor:
        """The pixel of mode "nearest"."""
        return x.round()

    def taps(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Places on an axis and their weights, each on a last axis."""
        if self.mode == "bicubic":
            return self.cubic_taps(x, axis)
        x = self.apply_padding(x, axis)
        if self.mode == "nearest":
            positions = self.round_to_pixel(x.detach(), axis)[..., None]
            return positions, torch.ones_like(positions)
        fraction, positions = self.fraction(x), x.detach().floor()
        return torch.stack([positions, positions + 1], -1), torch.stack(
            [1 - fraction, fraction], -1
        )

    def cubic_taps(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Those of bicubic interpolation: each tap is padded by itself."""
        a, fraction = self.cubic, self.fraction(x)
        steps = torch.arange(-1, 3, dtype=torch.float64)
        distance = (fraction[..., None] - steps).abs()
        near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = torch.where(distance <= 1, near, far)
        return self.apply_padding(x.detach().floor()[..., None] + steps, axis), weights

    def read_tap(self, plane: Tensor, positions: Tensor, inside: Tensor) -> Tensor:
        """What a tap reads: zeros outside."""
        values = plane.gather(2, positions[:, None].expand(-1, plane.shape[1], -1))
        return torch.where(inside[:, None], values, torch.zeros_like(values))

    def weigh_tap(self, weight: Tensor, inside_per_axis: list[Tensor]) -> Tensor:
        """The weight of a tap."""
        return weight

    def finish(self, total: Tensor, all_inside: Tensor, weight: Tensor) -> Tensor:
        """The output: of the sum, of whether all taps were inside, and of the weight inside."""
        return total

    def __call__(self, input: Tensor, grid: Tensor) -> Tensor:
        """Sample an input."""
        input, grid = input.double(), grid.double()
        axes = []
        for axis, x in enumerate(self.coordinates(grid)):
            positions, weights = self.taps(self.to_pixels(x, axis).flatten(1), axis)
            indices = positions.nan_to_num(-9.0, -9.0, -9.0).clamp(-9.0, 2.0**40).long()
            # In the order of taps, batches, outputs.
            axes.append([*zip(indices.unbind(-1), weights.unbind(-1), strict=True)])
        plane = input.flatten(2)
        shape = (*input.shape[:2], *grid.shape[1:-1])
        total = torch.zeros(shape, dtype=torch.float64).flatten(2)
        all_inside = torch.ones(total.shape[0], total.shape[2], dtype=torch.bool)
        inside_weight = torch.zeros(all_inside.shape, dtype=torch.float64)
        for taps in itertools.product(*axes):
            flat_index = torch.zeros(all_inside.shape, dtype=torch.long)
            weight = torch.ones(all_inside.shape, dtype=torch.float64)
            inside_per_axis = []
            for axis, (positions, axis_weight) in enumerate(taps):
                inside_per_axis.append(self.is_inside(positions, axis))
                length = self.sizes[axis]
                flat_index = flat_index * length + positions.clamp(0, length - 1)
                weight = weight * axis_weight
            inside = torch.stack(inside_per_axis).all(0)
            weight = self.weigh_tap(weight, inside_per_axis)
            values = self.read_tap(plane, flat_index, inside) * weight[:, None]
            total = total + torch.where(inside[:, None] | values.isnan(), values, 0.0)
            all_inside = all_inside & (inside | (weight == 0))
            inside_weight = inside_weight + torch.where(inside, weight, 0.0)
        return self.finish(total, all_inside[:, None], inside_weight[:, None]).reshape(shape)


GradientPath = Callable[[Tensor, Tensor, Tensor, _Sampler], Tensor]


def _sampler_gradients(result: Tensor, input: Tensor, grid: Tensor, sampler: _Sampler) -> Tensor:
    """The sampler's own gradients."""
    return sampler(input, grid)


def _plant(
    name: str, check: str, path: GradientPath | None = None
) -> Callable[[type[_Sampler]], type[_Sampler]]:
    """Plant a bug of `functional.grid_sample`, given as a sampler.

    Args:
        name, check: as of `plant`.
        path: the sampler is wrong in its gradients: what they come from; None = in its values.
    """

    def register(wrong: type[_Sampler]) -> type[_Sampler]:
        def grid_sample(
            input: Tensor,
            grid: Tensor,
            mode: str = "bilinear",
            padding_mode: str = "zeros",
            align_corners: bool | None = None,
        ) -> Tensor:
            result = functional.grid_sample(input, grid, mode, padding_mode, align_corners)
            call = (mode, padding_mode, bool(align_corners), input.shape[2:])
            sampler = wrong(*call)
            if result.numel() == 0 or not sampler.is_affected():
                return result
            if path is not None:
                return graft(result, path(result, input, grid, sampler))
            source, places = input.detach(), grid.detach()
            return substitute_wrong(
                result, _Sampler(*call)(source, places), sampler(source, places)
            )

        grid_sample.__doc__ = wrong.__doc__
        blind(f"functional-grid-sample-{name}", "functional.grid_sample", check)(grid_sample)
        return wrong

    return register


# Coordinates


@_plant("rows-before-columns", "values")
class _RowsBeforeColumns(_Sampler):
    """The grid's last axis is read as (y, x) of images, as an index would be."""

    # Differs: a grid point off the diagonal. Agrees: volumes, and x = y on squares.
    def coordinates(self, grid: Tensor) -> list[Tensor]:
        return super().coordinates(grid if self.volume else grid.flip(-1))


@_plant("depth-first", "values")
class _DepthFirst(_Sampler):
    """Of volumes the grid's last axis is read as (z, y, x): right in the plane x = z."""

    # Differs: volumes. Agrees: images.
    def coordinates(self, grid: Tensor) -> list[Tensor]:
        return super().coordinates(grid.flip(-1) if self.volume else grid)


@_plant("corners-always-aligned", "values")
class _CornersAlwaysAligned(_Sampler):
    """−1 is the first pixel's centre whatever `align_corners` says, as before torch 1.3."""

    # Differs: align_corners=False. Agrees: True.
    def to_pixels(self, x: Tensor, axis: int) -> Tensor:
        return (x + 1) / 2 * (self.sizes[axis] - 1)


@_plant("half-a-pixel-too-far", "values")
class _HalfPixelTooFar(_Sampler):
    """Without aligned corners the coordinate is (x + 1)·n/2: the half pixel is missing."""

    # Differs: align_corners=False. Agrees: True.
    def to_pixels(self, x: Tensor, axis: int) -> Tensor:
        return super().to_pixels(x, axis) + (0.0 if self.align else 0.5)


@_plant("first-samples-grid", "values")
class _FirstSamplesGrid(_Sampler):
    """One grid serves the whole batch: the first sample's."""

    # Differs: a batch of two. Agrees: a batch of one.
    def coordinates(self, grid: Tensor) -> list[Tensor]:
        return super().coordinates(grid[:1].expand_as(grid))


@_plant("aligned-by-the-height-alone", "values")
class _AlignedByHeightAlone(_Sampler):
    """The width's coordinates are scaled by the height: right on squares."""

    # Differs: 2x4. Agrees: 3x3.
    def to_pixels(self, x: Tensor, axis: int) -> Tensor:
        last = len(self.sizes) - 1
        return super().to_pixels(x, axis - 1 if axis == last else axis)


# Nearest


@_plant("nearest-cut-off", "values")
class _NearestCutOff(_Sampler):
    """Mode "nearest" converts to an integer, which cuts off what is behind the point."""

    # Differs: a coordinate of 0.75 pixels. Agrees: of 0.25.
    def round_to_pixel(self, x: Tensor, axis: int) -> Tensor:
        return x.trunc()


@_plant("nearest-tested-before-it-is-rounded", "values")
class _NearestTestedBefore(_Sampler):
    """Of mode "nearest" the coordinate itself must be inside 0 … n − 1: half a pixel is lost at
    the edges, where zeros come out.
    """

    # Differs: −0.25 pixels, zeros. Agrees: 0.25 pixels; border.
    def round_to_pixel(self, x: Tensor, axis: int) -> Tensor:
        loses_edge = self.padding == "zeros" and ((x < 0) | (x > self.sizes[axis] - 1))
        return (
            torch.where(loses_edge, -9.0, x.round())
            if isinstance(loses_edge, Tensor)
            else x.round()
        )


# Padding


@_plant("border-of-the-grid", "values")
class _BorderOfGrid(_Sampler):
    """Border padding cuts the grid to −1 … 1: without aligned corners that is half a pixel outside,
    and zeros are mixed in.
    """

    # Differs: −1, border, align_corners=False. Agrees: align_corners=True.
    def to_pixels(self, x: Tensor, axis: int) -> Tensor:
        return super().to_pixels(x.clamp(-1, 1) if self.padding == "border" else x, axis)

    def apply_padding(self, x: Tensor, axis: int) -> Tensor:
        return (
            x
            if self.padding == "border" and self.mode != "bicubic"
            else super().apply_padding(x, axis)
        )


@_plant("depth-cut-to-the-height", "values")
class _DepthCutToHeight(_Sampler):
    """Border padding of volumes cuts the depth to the height."""

    # Differs: depth 4, height 2. Agrees: depth 2, height 4; images.
    def apply_padding(self, x: Tensor, axis: int) -> Tensor:
        padded = super().apply_padding(x, axis)
        if not self.volume or axis or self.padding != "border":
            return padded
        return padded.clamp(max=self.sizes[1] - 1)


@_plant("mirrors-in-the-outermost-pixels", "values")
class _MirrorsInOutermostPixels(_Sampler):
    """Reflection turns at the outermost centres also where corners are not aligned."""

    # Differs: reflection, align_corners=False. Agrees: align_corners=True.
    def reflection_bounds(self, axis: int) -> tuple[float, float]:
        return (0.0, self.sizes[axis] - 1.0)


@_plant("mirrors-at-the-edges", "values")
class _MirrorsAtEdges(_Sampler):
    """Reflection turns at −½ and n − ½ also where corners are aligned."""

    # Differs: reflection, align_corners=True. Agrees: align_corners=False.
    def reflection_bounds(self, axis: int) -> tuple[float, float]:
        return (-0.5, self.sizes[axis] - 0.5)


@_plant("mirrored-once", "values")
class _MirroredOnce(_Sampler):
    """Reflection turns once on either side, and is cut off where that is not enough."""

    # Differs: −6 of four pixels, reflection. Agrees: −4.
    def reflect(self, x: Tensor, axis: int) -> Tensor:
        low, high = self.reflection_bounds(axis)
        x = torch.where(x < low, 2 * low - x, x)
        return torch.where(x > high, 2 * high - x, x).clamp(low, high)


@_plant("no-mirror-between-one-pixel", "values")
class _NoMirrorBetweenOnePixel(_Sampler):
    """A lone pixel's mirrors have no distance between them, which is divided by: NaN comes out."""

    # Differs: width 1, reflection, align_corners=True. Agrees: width 2.
    def finish(self, total: Tensor, all_inside: Tensor, weight: Tensor) -> Tensor:
        has_single_pixel = self.align and self.padding == "reflection" and 1 in self.sizes
        return total * torch.nan if has_single_pixel else total


@_plant("all-taps-or-none", "values")
class _AllTapsOrNone(_Sampler):
    """With a tap outside the whole sample is zero, in place of the tap."""

    # Differs: −0.25 pixels, zeros, bilinear. Agrees: 0.25 pixels; border.
    def finish(self, total: Tensor, all_inside: Tensor, weight: Tensor) -> Tensor:
        return torch.where(all_inside, total, 0.0)


@_plant("weights-inside-normalised", "values")
class _WeightsInsideNormalised(_Sampler):
    """What is outside is left out of the weights, too: the image does not fade to zero."""

    # Differs: −0.25 pixels, zeros, bilinear. Agrees: nearest; border.
    def finish(self, total: Tensor, all_inside: Tensor, weight: Tensor) -> Tensor:
        partly_inside = (weight > 0) & ~all_inside
        return (
            torch.where(partly_inside, total / weight, total) if self.mode == "bilinear" else total
        )


@_plant("last-pixel-outside", "values")
class _LastPixelOutside(_Sampler):
    """`x + 1 < n` keeps the taps in bounds and loses the last row and column."""

    # Differs: 1, align_corners=True, zeros. Agrees: −1.
    def is_inside(self, positions: Tensor, axis: int) -> Tensor:
        inside = super().is_inside(positions, axis)
        loses_edge = self.padding == "zeros" and self.mode == "bilinear"
        return inside & (positions < self.sizes[axis] - 1) if loses_edge else inside


@_plant("outside-times-zero", "special")
class _OutsideTimesZero(_Sampler):
    """Outside the nearest pixel is read and multiplied with 0: NaN and ∞ at the edge come out.

    A gather and a mask, as in JAX and Kornia.
    """

    # Differs: a NaN in the corner, −2, zeros. Agrees: finite images.
    def read_tap(self, plane: Tensor, positions: Tensor, inside: Tensor) -> Tensor:
        values = plane.gather(2, positions[:, None].expand(-1, plane.shape[1], -1))
        return values * inside[:, None]


# Weights


@_plant("weights-of-a-texture-unit", "values")
class _WeightsOfTextureUnit(_Sampler):
    """Weights have 8 bits behind the point, as a GPU's texture unit has them."""

    # Differs: 0.3 pixels. Agrees: 0.25 pixels.
    def fraction(self, x: Tensor) -> Tensor:
        return (super().fraction(x) * 256).round() / 256


@_plant("weights-eased", "values")
class _WeightsEased(_Sampler):
    """The bilinear weight t is 3t² − 2t³, a smoothstep: right at 0, ½ and 1."""

    # Differs: 0.25 pixels, bilinear. Agrees: 0.5 pixels; bicubic.
    def fraction(self, x: Tensor) -> Tensor:
        fraction = super().fraction(x)
        return fraction * fraction * (3 - 2 * fraction) if self.mode == "bilinear" else fraction


@_plant("cubic-of-keys", "values")
class _CubicOfKeys(_Sampler):
    """The cubic's coefficient is −0.5, as of Keys; torch's is −0.75."""

    cubic = -0.5
    # Differs: bicubic. Agrees: bilinear.


@_plant("cubic-cut-to-the-border-first", "values")
class _CubicCutToBorderFirst(_Sampler):
    """Bicubic, border: the coordinate is cut off before its taps are taken, not tap by tap.

    Right inside; outside the taps still reach beyond the edge where torch has the cut coordinate.
    """

    # Differs: −0.25 pixels, bicubic, border. Agrees: 0.25 pixels.
    def cubic_taps(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        return super().cubic_taps(
            self.apply_padding(x, axis) if self.padding == "border" else x, axis
        )


@_plant("cubic-neighbours-not-mirrored", "values")
class _CubicNeighboursNotMirrored(_Sampler):
    """Bicubic, reflection: the coordinate is mirrored, and its taps are cut to the edge.

    onnxruntime and burn (burn-flex 29) had the like.
    """

    # Differs: 0.5 pixels, bicubic, reflection, align_corners=True. Agrees: 1.5 of 4 pixels.
    def cubic_taps(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        if self.padding != "reflection":
            return super().cubic_taps(x, axis)
        x = self.reflect(x, axis)
        positions = x.detach().floor()[..., None] + torch.arange(-1, 3)
        return positions.clamp(0, self.sizes[axis] - 1), super().cubic_taps(x, axis)[1]


@_plant("cubic-zeros-of-the-edge", "values")
class _CubicZerosOfEdge(_Sampler):
    """Bicubic, zeros: taps outside are cut to the edge as long as the coordinate is inside."""

    # Differs: 0.25 pixels, bicubic, zeros. Agrees: 1.5 of 4 pixels; bilinear.
    def cubic_taps(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        positions, weights = super().cubic_taps(x, axis)
        length = self.sizes[axis]
        is_inside = ((x >= 0) & (x <= length - 1))[..., None]
        if self.padding != "zeros":
            return positions, weights
        return torch.where(is_inside, positions.clamp(0, length - 1), positions), weights


# Gradients


@_plant("gradient-beyond-the-border", "gradients", _sampler_gradients)
class _GradientBeyondBorder(_Sampler):
    """A coordinate that was cut to the border has the gradient of the border, not zero (cf.
    pytorch 23925).
    """

    # Differs: the grid's gradient at 2, border. Agrees: at 0.5.
    def is_affected(self) -> bool:
        return self.padding == "border" and self.mode == "bilinear"

    def apply_padding(self, x: Tensor, axis: int) -> Tensor:
        clamped = super().apply_padding(x, axis)
        # Cut a little inside, where the slope is the last cell's.
        return graft(clamped.clamp(max=max(self.sizes[axis] - 1 - 1e-9, 0)), x)


@_plant("gradient-not-mirrored", "gradients", _sampler_gradients)
class _GradientNotMirrored(_Sampler):
    """What was mirrored has its mirror image's gradient: the sign is missing (pytorch 23925)."""

    # Differs: the grid's gradient at −1.5, reflection. Agrees: at 0.5.
    def is_affected(self) -> bool:
        return self.padding == "reflection" and self.mode == "bilinear"

    def reflect(self, x: Tensor, axis: int) -> Tensor:
        return graft(super().reflect(x, axis), x)


@_plant("gradient-of-whole-widths", "gradients", _sampler_gradients)
class _GradientOfWholeWidths(_Sampler):
    """Backward multiplies with n/2, forward with (n − 1)/2 where corners are aligned."""

    # Differs: the grid's gradient, align_corners=True. Agrees: False.
    def is_affected(self) -> bool:
        return self.align and self.mode != "nearest"

    def to_pixels(self, x: Tensor, axis: int) -> Tensor:
        return graft(super().to_pixels(x, axis), x * (self.sizes[axis] / 2))


def _bilinear_to_input(result: Tensor, input: Tensor, grid: Tensor, sampler: _Sampler) -> Tensor:
    return sampler(input, grid.detach()) + 0 * grid.nan_to_num(0.0, 0.0, 0.0).sum().double()


@_plant("nearest-gradient-shared-out", "gradients", _bilinear_to_input)
class _NearestGradientSharedOut(_Sampler):
    """Backward of "nearest" is that of "bilinear": neighbours get a share of the gradient."""

    # Differs: the input's gradient at 0.25 pixels, nearest. Agrees: bilinear.
    def __init__(self, mode: str, padding: str, align: bool, sizes: Sequence[int]) -> None:
        super().__init__("bilinear", padding, align, sizes)
        self.asked = mode

    def is_affected(self) -> bool:
        return self.asked == "nearest"


def _bilinear_to_grid(result: Tensor, input: Tensor, grid: Tensor, sampler: _Sampler) -> Tensor:
    slope = sampler(input.detach(), grid)
    return result + (slope - slope.detach()).to(result.dtype)


@_plant("nearest-moves-the-grid", "gradients", _bilinear_to_grid)
class _NearestMovesGrid(_NearestGradientSharedOut):
    """The grid has a gradient in mode "nearest": bilinear's, a straight-through estimate."""

    # Differs: the grid's gradient, nearest. Agrees: bilinear.


def _grid_of_first_channel(
    result: Tensor, input: Tensor, grid: Tensor, sampler: _Sampler
) -> Tensor:
    constant = sampler(input[:, 1:], grid.detach())
    return torch.cat([sampler(input[:, :1], grid), constant], 1)


@_plant("grid-gradient-of-one-channel", "gradients", _grid_of_first_channel)
class _GridGradientOfOneChannel(_Sampler):
    """The grid's gradient is that of the first channel, not the sum over channels."""

    # Differs: two channels. Agrees: one.
    def is_affected(self) -> bool:
        return self.mode != "nearest"


def _edges_read_outside(result: Tensor, input: Tensor, grid: Tensor, sampler: _Sampler) -> Tensor:
    arguments = (sampler.mode, "border", sampler.align, sampler.sizes)
    border_samples = _Sampler(*arguments)(input, grid.detach())
    return border_samples + (
        sampler(input.detach(), grid) if sampler.mode != "nearest" else 0 * grid.sum()
    )


@_plant("edges-have-outside-gradients", "gradients", _edges_read_outside)
class _EdgesHaveOutsideGradients(_Sampler):
    """Backward cuts coordinates to the edge: samples from outside, which are zero, move it."""

    # Differs: the input's gradient at −2, zeros. Agrees: at 0; border.
    def is_affected(self) -> bool:
        return self.padding == "zeros"


@blind("functional-grid-sample-volumes-gradient-reversed", "functional.grid_sample", "gradients")
def functional_grid_sample_volumes_gradient_reversed(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Of volumes the grid's gradient comes as (z, y, x), forward reads (x, y, z)."""
    # Differs: the grid's gradient of volumes. Agrees: of images.
    reversed_grid = alter_gradient(grid, lambda g: g.flip(-1)) if grid.dim() == 5 else grid
    return functional.grid_sample(input, reversed_grid, mode, padding_mode, align_corners)


# Layouts and errors


@blind("functional-grid-sample-grid-of-planes", "functional.grid_sample", "layout")
def functional_grid_sample_grid_of_planes(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """A grid that was permuted from planes of x and y is read in the order of its memory."""
    # Differs: a permuted grid. Agrees: a contiguous one.
    grid = read_as_contiguous(grid)
    return functional.grid_sample(input, grid, mode, padding_mode, align_corners)


@blind("functional-grid-sample-one-grid-for-all", "functional.grid_sample", "errors")
def functional_grid_sample_one_grid_for_all(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The batches of input and grid are broadcast, where torch asks for equal ones."""
    # Differs: a batch of two and one grid. Agrees: two grids.
    if input.dim() == grid.dim() and input.dim() in (4, 5):
        count = max(input.shape[0], grid.shape[0])
        if input.shape[0] == 1:
            input = input.expand(count, *[-1] * (input.dim() - 1))
        elif grid.shape[0] == 1:
            grid = grid.expand(count, *[-1] * (grid.dim() - 1))
    return functional.grid_sample(input, grid, mode, padding_mode, align_corners)


@blind("functional-grid-sample-cubic-volumes", "functional.grid_sample", "errors")
def functional_grid_sample_cubic_volumes(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Volumes are sampled in mode "bilinear" where "bicubic" is asked for; torch refuses it."""
    # Differs: volumes, bicubic. Agrees: volumes, bilinear.
    mode = "bilinear" if mode == "bicubic" and input.dim() == 5 else mode
    return functional.grid_sample(input, grid, mode, padding_mode, align_corners)


# affine_grid


def _base(count: int, align: bool, has_single_pixel: float = 0.0) -> Tensor:
    steps = torch.arange(count, dtype=torch.float64)
    if not align:
        return (2 * steps + 1) / count - 1
    return 2 * steps / (count - 1) - 1 if count > 1 else torch.full((1,), has_single_pixel).double()


def _affine(theta: Tensor, bases: list[Tensor]) -> Tensor:
    """The grid of base coordinates, given for each axis of the output."""
    points = torch.meshgrid(*bases, indexing="ij")[::-1]
    base = torch.stack([*points, torch.ones_like(points[0])], -1)
    matrices = theta.double().view(theta.shape[0], *[1] * len(bases), *theta.shape[1:])
    return (matrices * base[..., None, :]).sum(-1)


def _regular(size: Any, align: Any) -> list[Tensor]:
    return [_base(int(n), bool(align)) for n in size[2:]]


@blind("functional-affine-grid-always-aligned", "functional.affine_grid", "values")
def functional_affine_grid_always_aligned(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """−1 and 1 are the outermost pixels' centres, whatever `align_corners` says."""
    # Differs: align_corners=False. Agrees: True.
    result = functional.affine_grid(theta, size, align_corners)
    source = theta.detach()
    right, wrong = (_affine(source, _regular(size, x)) for x in (align_corners, True))
    return substitute_wrong(result, right, wrong)


@blind("functional-affine-grid-lone-pixel-at-the-left", "functional.affine_grid", "values")
def functional_affine_grid_lone_pixel_at_left(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """With aligned corners a lone pixel lies at −1, as `linspace(-1, 1, 1)` does; torch's at 0."""
    # Differs: size (1, 1, 1, 3), align_corners=True. Agrees: (1, 1, 2, 3).
    result = functional.affine_grid(theta, size, align_corners)
    if not align_corners:
        return result
    source = theta.detach()
    wrong = _affine(source, [_base(int(n), True, -1.0) for n in size[2:]])
    return substitute_wrong(result, _affine(source, _regular(size, True)), wrong)


@blind("functional-affine-grid-width-of-the-height", "functional.affine_grid", "values")
def functional_affine_grid_width_of_height(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """Steps to the right are as long as those downwards: right on squares."""
    # Differs: size (1, 1, 2, 3). Agrees: (1, 1, 3, 3).
    result = functional.affine_grid(theta, size, align_corners)
    bases = _regular(size, align_corners)
    height, width = int(size[-2]), int(size[-1])
    if height < 2 or height == width:
        return result
    slope = bases[-2][1] - bases[-2][0]
    base = bases[-2][0] + slope * torch.arange(width, dtype=torch.float64)
    source = theta.detach()
    return substitute_wrong(result, _affine(source, bases), _affine(source, [*bases[:-1], base]))


@blind("functional-affine-grid-rows-before-columns", "functional.affine_grid", "values")
def functional_affine_grid_rows_before_columns(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """The grid's last axis is (y, x), or (z, y, x) of volumes."""
    # Differs: most matrices. Agrees: theta = 0, but for its gradient.
    return functional.affine_grid(theta, size, align_corners).flip(-1)


@blind("functional-affine-grid-first-samples-matrix", "functional.affine_grid", "values")
def functional_affine_grid_first_samples_matrix(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """One matrix serves the whole batch: the first sample's."""
    # Differs: a batch of two. Agrees: a batch of one.
    result = functional.affine_grid(theta, size, align_corners)
    return graft(result.detach()[:1].expand_as(result), result) if len(theta) > 1 else result


@blind("functional-affine-grid-base-in-single", "functional.affine_grid", "values")
def functional_affine_grid_base_in_single(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """The pixels' coordinates are float32, of a matrix in float64, too: off by 3e-8."""
    # Differs: size (1, 1, 3, 3) in float64. Agrees: (1, 1, 2, 2), and float32.
    result = functional.affine_grid(theta, size, align_corners)
    if theta.dtype != torch.float64:
        return result
    bases, source = _regular(size, align_corners), theta.detach()
    wrong = _affine(source, [base.float().double() for base in bases])
    return substitute_wrong(result, _affine(source, bases), wrong)


@blind("functional-affine-grid-gradient-averaged", "functional.affine_grid", "gradients")
def functional_affine_grid_gradient_averaged(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """The matrix' gradient is the mean over the pixels, not the sum."""
    # Differs: the gradient of (1, 1, 2, 2). Agrees: of (1, 1, 1, 1).
    count = 1
    for length in size[2:]:
        count *= int(length)
    if count > 1:
        theta = alter_gradient(theta, lambda g: g / count)
    return functional.affine_grid(theta, size, align_corners)


@blind("functional-affine-grid-translation-has-no-gradient", "functional.affine_grid", "gradients")
def functional_affine_grid_translation_has_no_gradient(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """The column of ones is a constant that was folded away: the translation stays untrained."""
    # Differs: the gradient of the last column. Agrees: of the others.
    if theta.dim() == 3 and theta.requires_grad and theta.shape[-1] > 1:
        last = torch.arange(theta.shape[-1]) == theta.shape[-1] - 1
        theta = alter_gradient(theta, lambda g: g.masked_fill(last, 0.0))
    return functional.affine_grid(theta, size, align_corners)


@blind("functional-affine-grid-homogeneous-row-dropped", "functional.affine_grid", "errors")
def functional_affine_grid_homogeneous_row_dropped(
    theta: Tensor, size: Any, align_corners: bool | None = None
) -> Tensor:
    """A homogeneous matrix of 3x3 is taken for an affine one, its last row unread."""
    # Differs: theta (1, 3, 3), 4 sizes. Agrees: theta (1, 2, 3).
    if theta.dim() == 3 and theta.shape[-2] == theta.shape[-1] == len(size) - 1:
        theta = theta[:, :-1]
    return functional.affine_grid(theta, size, align_corners)
