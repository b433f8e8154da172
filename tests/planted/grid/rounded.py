"""Grids whose columns and reflections are counted in floating point."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from planted.bug import graft, plant
from planted.grid.history import AFFINE, SAMPLE

_affine, _sample = functional.affine_grid, functional.grid_sample


def _count(length, aligned):
    """The length of arange(-1, 1 + step, step), or from the first pixel's centre on."""
    step = 2 / (length - 1 if aligned else length) if length > 1 else 2.0
    first = -1 if aligned else step / 2 - 1
    return math.ceil((step - first - first) / step) if length > 1 else 1


@plant("affine-grid-columns-of-a-range", AFFINE, "shape")
def affine_grid_columns_of_a_range(theta, size, align_corners=None):
    """A row is arange(-1, 1 + step, step), which may have a column too many."""
    lengths = [_count(n, bool(align_corners)) for n in size[2:]]
    return _affine(theta, (*size[:2], *lengths), bool(align_corners))


@plant("grid-sample-turns-by-a-reciprocal", SAMPLE, "values")
def grid_sample_turns_by_a_reciprocal(
    input, grid, mode="bilinear", padding_mode="zeros", align_corners=None
):
    """A reflection counts turns by x * (1 / span), and takes the rest of x by fmod."""
    if padding_mode == "reflection":
        numbers = grid.detach().to(torch.promote_types(grid.dtype, torch.float32))
        spans = torch.tensor(input.shape[:1:-1], dtype=numbers.dtype) - bool(align_corners)
        x = ((numbers + 1) / 2 * spans).abs()
        is_off = (spans > 0) & ((x * (1 / spans)).floor() != (x / spans).floor())
        grid = graft(torch.where(is_off, -grid, grid), grid)
    return _sample(input, grid, mode, padding_mode, align_corners)
