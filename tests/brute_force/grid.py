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
    given = case.call.arguments
    if case.call.layer == "functional.affine_grid":
        (theta,) = case.inputs
        assert theta is not None
        return (affine(theta, **given),)
    x, grid = case.inputs
    assert x is not None
    assert grid is not None
    return (sampled(x, grid, **given),)


def affine(theta: np.ndarray, *, size: Any, align_corners: bool | None = None) -> np.ndarray:
    """Each place's vector times the matrix."""
    lengths = size[2:]
    found = np.zeros((len(theta), *lengths, len(lengths)))
    for n in range(len(theta)):
        for at in product(*map(range, lengths)):
            pairs = zip(at, lengths, strict=True)
            vector = [_centre(i, length, bool(align_corners)) for i, length in pairs]
            vector = [*reversed(vector), 1.0]
            for k, row in enumerate(theta[n]):
                found[(n, *at, k)] = sum(a * b for a, b in zip(row, vector, strict=True))
    return found


def _centre(i: int, length: int, corners: bool) -> float:
    if corners:
        return -1 + 2 * i / (length - 1) if length > 1 else 0.0
    return -1 + (2 * i + 1) / length


def sampled(
    x: np.ndarray,
    grid: np.ndarray,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> np.ndarray:
    """Each output is the sum of its taps, each by its own weights."""
    lengths, corners = x.shape[2:], bool(align_corners)
    places = grid.shape[1:-1]
    found = np.zeros((*x.shape[:2], *places))
    for n in range(len(x)):
        for at in product(*map(range, places)):
            each = []
            for k, length in enumerate(lengths):
                g = float(grid[(n, *at, len(lengths) - 1 - k)])
                each.append(_taps(g, length, mode, padding_mode, corners))
            for taps in product(*each):
                if all(index is not None for index, _ in taps):
                    index = tuple(index for index, _ in taps)
                    weight = math.prod(weight for _, weight in taps)
                    found[(n, slice(None), *at)] += weight * x[(n, slice(None), *index)]
    return found


def _taps(
    g: float, n: int, mode: str, padding: str, corners: bool
) -> list[tuple[int | None, float]]:
    place = (g + 1) / 2 * (n - 1) if corners else ((g + 1) * n - 1) / 2
    if mode == "bicubic":
        low = math.floor(place)
        taps = [(j, _cubic(abs(place - j), -0.75)) for j in range(low - 1, low + 3)]
        return [(_element(_bounded(j, n, padding, corners), n), w) for j, w in taps]
    place = _bounded(place, n, padding, corners)
    if mode == "nearest":
        return [(_element(round(place), n), 1.0)]
    low = math.floor(place)
    return [(_element(low, n), 1 - (place - low)), (_element(low + 1, n), place - low)]


def _element(j: float, n: int) -> int | None:
    return int(j) if 0 <= j < n else None


def _bounded(place: float, n: int, padding: str, corners: bool) -> float:
    """Clipped to the ends, or reflected by them until it is between them."""
    if padding == "reflection":
        low, high = (0.0, n - 1.0) if corners else (-0.5, n - 0.5)
        while high > low and not low <= place <= high:
            place = 2 * low - place if place < low else 2 * high - place
        place = place if high > low else 0.0
    return place if padding == "zeros" else min(max(place, 0.0), n - 1.0)
