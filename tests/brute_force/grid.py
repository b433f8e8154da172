"""affine_grid and grid_sample as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np

from brute_force.interpolation import _cubic
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    arguments = case.call.arguments
    if case.call.layer == "functional.affine_grid":
        (theta,) = case.inputs
        assert theta is not None
        return (affine_grid(theta, **arguments),)
    x, grid = case.inputs
    assert x is not None
    assert grid is not None
    return (grid_sample(x, grid, **arguments),)


def affine_grid(theta: np.ndarray, *, size: Any, align_corners: bool | None = None) -> np.ndarray:
    """Each place's vector times the matrix."""
    lengths = size[2:]
    output = np.zeros((len(theta), *lengths, len(lengths)))
    for n in range(len(theta)):
        for position in product(*map(range, lengths)):
            pairs = zip(position, lengths, strict=True)
            vector = [_centre(i, length, bool(align_corners)) for i, length in pairs]
            vector = [*reversed(vector), 1.0]
            for k, row in enumerate(theta[n]):
                output[(n, *position, k)] = sum(a * b for a, b in zip(row, vector, strict=True))
    return output


def _centre(i: int, length: int, align_corners: bool) -> float:
    if align_corners:
        return -1 + 2 * i / (length - 1) if length > 1 else 0.0
    return -1 + (2 * i + 1) / length


def grid_sample(
    x: np.ndarray,
    grid: np.ndarray,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> np.ndarray:
    """Each output is the sum of its taps, each by its own weights."""
    lengths, aligned = x.shape[2:], bool(align_corners)
    output_shape = grid.shape[1:-1]
    output = np.zeros((*x.shape[:2], *output_shape))
    for n in range(len(x)):
        for position in product(*map(range, output_shape)):
            taps_per_axis = []
            for k, length in enumerate(lengths):
                g = float(grid[(n, *position, len(lengths) - 1 - k)])
                taps_per_axis.append(_taps(g, length, mode, padding_mode, aligned))
            for taps in product(*taps_per_axis):
                if all(index is not None for index, _ in taps):
                    index = tuple(index for index, _ in taps)
                    weight = math.prod(weight for _, weight in taps)
                    output[(n, slice(None), *position)] += weight * x[(n, slice(None), *index)]
    return output


def _taps(
    g: float, n: int, mode: str, padding: str, align_corners: bool
) -> list[tuple[int | None, float]]:
    place = (g + 1) / 2 * (n - 1) if align_corners else ((g + 1) * n - 1) / 2
    if mode == "bicubic":
        low = math.floor(place)
        taps = [(j, _cubic(abs(place - j), -0.75)) for j in range(low - 1, low + 3)]
        return [
            (_index_inside(_apply_padding(j, n, padding, align_corners), n), w) for j, w in taps
        ]
    place = _apply_padding(place, n, padding, align_corners)
    if mode == "nearest":
        return [(_index_inside(round(place), n), 1.0)]
    low = math.floor(place)
    return [(_index_inside(low, n), 1 - (place - low)), (_index_inside(low + 1, n), place - low)]


def _index_inside(j: float, n: int) -> int | None:
    return int(j) if 0 <= j < n else None


def _apply_padding(place: float, n: int, padding: str, align_corners: bool) -> float:
    """Clipped to the ends, or reflected by them until it is between them."""
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
        while high > low and not low <= place <= high:
            place = 2 * low - place if place < low else 2 * high - place
        place = place if high > low else 0.0
    return place if padding == "zeros" else min(max(place, 0.0), n - 1.0)
