"""Bugs written without sight of the suite: interpolation and sampling by grids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft


@blind("functional-interpolate-aligned-corners-of-one-pixel", "functional.interpolate", "values")
def _one_pixel(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """With align_corners=True an output axis of one pixel divides by zero, and all is NaN."""
    # Differs: size=1, mode="linear", align_corners=True. Agrees: size=2; align_corners=False.
    options = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    result = functional.interpolate(input, *options)
    return result * torch.nan if align_corners and 1 in result.shape[2:] else result


@blind("functional-interpolate-scale-from-the-rounded-size", "functional.interpolate", "values")
def _rounded_size(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The scale is always computed anew from the rounded output size; torch does so only where
    recompute_scale_factor says so."""
    # Differs: scale_factor=1.5 on 5 pixels, mode="linear". Agrees: scale_factor=2; size.
    if scale_factor is not None and size is None:
        count = input.dim() - 2
        factors = scale_factor
        if not isinstance(factors, (tuple, list)):
            factors = [scale_factor] * count
        if len(factors) == count:
            lengths = input.shape[2:]
            size = [int(n * factor) for n, factor in zip(lengths, factors, strict=True)]
            scale_factor = recompute_scale_factor = None
    options = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
    return functional.interpolate(input, *options)


@blind("upsample-first-scale-for-each-axis", "Upsample", "shape")
class _FirstScale(nn.Upsample):
    """The first of several scale factors is used for all axes."""

    # Differs: scale_factor=(2, 3). Agrees: scale_factor=(2, 2), scale_factor=2.

    def forward(self, input: Tensor) -> Tensor:
        factor = self.scale_factor[0] if isinstance(self.scale_factor, tuple) else None
        return functional.interpolate(
            input,
            self.size,
            self.scale_factor if factor is None else factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )


@blind("upsamplingnearest2d-takes-pixel-centres", "UpsamplingNearest2d", "values")
class _PixelCentres(nn.UpsamplingNearest2d):
    """The nearest pixel is that of the centre, as mode="nearest-exact" has it."""

    # Differs: size 2 of 5 pixels. Agrees: whole scale factors.

    def forward(self, input: Tensor) -> Tensor:
        return functional.interpolate(input, self.size, self.scale_factor, "nearest-exact")


@blind("upsamplingbilinear2d-channels-last-tail-is-nearest", "UpsamplingBilinear2d", "layout")
class _TailNearest(nn.UpsamplingBilinear2d):
    """Of a channels-last input the channels past the last multiple of four are copied from the
    nearest pixel: the loop after the vectors was left unfinished."""

    # Differs: 3 channels, channels last. Agrees: 4 channels; a contiguous input.

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        last = input.is_contiguous(memory_format=torch.channels_last)
        if not last or input.is_contiguous() or input.size(1) % 4 == 0:
            return result
        full_size = input.size(1) // 4 * 4
        tail = functional.interpolate(input[:, full_size:], result.shape[2:], mode="nearest")
        return torch.cat([result[:, :full_size], tail], 1)


@blind("functional-grid-sample-nan-means-the-centre", "functional.grid_sample", "special")
def _centre(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """A coordinate that is NaN samples the centre; the documentation says -1."""
    # Differs: a grid with NaN. Agrees: a grid without.
    grid = torch.where(grid.isnan(), torch.zeros_like(grid), grid)
    return functional.grid_sample(input, grid, mode, padding_mode, align_corners)


@blind(
    "functional-grid-sample-border-passes-the-grid-s-gradient",
    "functional.grid_sample",
    "gradients",
)
def _passes_gradient(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Outside a border the grid gets the gradient of the last pixels: the clamp of a coordinate
    is left out of the backward pass."""
    # Differs: the grid's gradient at 1.5, padding_mode="border". Agrees: at 0.3; every value.
    options = (mode, padding_mode, align_corners)
    if padding_mode != "border" or mode != "bilinear":
        return functional.grid_sample(input, grid, *options)
    value = functional.grid_sample(input, grid.detach(), *options)
    limits = [1.0 if align_corners else 1 - 1 / n for n in reversed(input.shape[2:])]
    limit = grid.new_tensor(limits) * (1 - 1e-3)
    coordinates = grid.detach()
    clamped = torch.where(coordinates.abs() > limit, coordinates.sign() * limit, coordinates)
    shifted_grid = torch.where(coordinates.abs() > limit, grid - coordinates + clamped, grid)
    return graft(value, value + functional.grid_sample(input.detach(), shifted_grid, *options))


@blind("functional-affine-grid-one-pixel-at-the-corner", "functional.affine_grid", "values")
def _at_corner(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """With align_corners=True an axis of one pixel lies at -1, as before torch 1.3, not at 0."""
    # Differs: size (1, 1, 1, 3), align_corners=True. Agrees: (1, 1, 2, 3); align_corners=False.
    grid = functional.affine_grid(theta, size, align_corners)
    if align_corners:
        for axis, length in enumerate(reversed(size[2:])):
            if length == 1:
                column = theta[:, :, axis]
                grid = grid - column.view(column.size(0), *[1] * (grid.dim() - 2), -1)
    return grid


@blind("functional-affine-grid-always-single", "functional.affine_grid", "values")
def _always_single(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """The grid of a float64 theta is computed in float32, and cast back."""
    # Differs: theta in float64. Agrees: theta in float32.
    if theta.dtype != torch.float64:
        return functional.affine_grid(theta, size, align_corners)
    return functional.affine_grid(theta.float(), size, align_corners).double()
