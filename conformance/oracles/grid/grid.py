"""affine_grid and grid_sample.

Sources: the pages torch.nn.functional.affine_grid and grid_sample of the PyTorch documentation.
The former page has no formula: the grid consists of the centres of the output's pixels by the
convention of `align_corners`, each a vector (x, y, 1) or (x, y, z, 1) multiplied by the matrix. The
latter page does not say which of two equally near elements `nearest` takes: either is right. At an
element, and where the padding reflects or clamps a position, the output has two one-sided slopes:
either is right in the gradient of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import declared, stored, wide, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import as_read
from conformance.arithmetic.rounded import OWN, Rounded, multilinear, traced
from conformance.oracles.grid.places import (
    Along,
    Taps,
    bilinear_taps,
    cubic_slopes,
    cubic_taps,
    nearest_taps,
    slopes,
)
from conformance.oracles.grid.sums import sampled, scattered

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def affine_grid(
    state: State, theta: Rounded, *, size: Sequence[int], align_corners: bool | None = None
) -> Rounded:
    """grid[n, …, k] = Σ_j theta[n, k, j]·(x, y, 1)[j], of (x, y, z, 1) in three dimensions."""
    base = pixels(tuple(size[2:]), bool(align_corners), theta.precision)
    terms = base.shape[-1] + 1

    def forward(theta: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("nkj,pj->npk", theta, base))

    def back(c: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("npk,pj->nkj", c, base))

    shape = (theta.shape[0], *size[2:], base.shape[-1] - 1)
    found = multilinear(forward, widened(theta.bare), base, terms=terms, wide=True)
    found = stored(found, theta.precision).map(lambda array: array.reshape(shape))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        flat = cotangent.bare.map(
            lambda array: array.reshape(len(array), math.prod(shape[1:-1]), shape[-1])
        )
        number = max(base.shape[0], 1) + 1
        gradient = multilinear(back, widened(flat), base, terms=number, wide=True)
        return [stored(gradient, theta.precision)]

    return traced(found, [theta], pull)


def affine_grid_shape(
    theta: Shape, *, size: Sequence[int], align_corners: bool | None = None
) -> tuple[Shape, ...]:
    """(N, 2, 3) → (N, H, W, 2), or (N, 3, 4) → (N, D, H, W, 3)."""
    return ((theta[0], *size[2:], len(size) - 2),)


def pixels(lengths: Shape, corners: bool, precision: Precision) -> Rounded:
    """(x, y, 1) or (x, y, z, 1) of each pixel, x along the last axis: (pixels, dimensions + 1).

    Args:
        lengths: the output's spatial sizes.
        corners: ±1 are the centres of the corner pixels.
        precision: that of the matrix; a backend may store the centres in it and multiply wide.
    """
    inner = wide(precision)
    unit = precision.unit if declared(inner, "grid_samples") else inner.unit
    axes = [_centres(n, corners, inner, unit) for n in lengths]
    values = np.meshgrid(*(value for value, _ in axes), indexing="ij")
    errors = np.meshgrid(*(error for _, error in axes), indexing="ij")
    ones = np.ones(lengths)
    value = np.stack([*(x.reshape(-1) for x in reversed(values)), ones.reshape(-1)], -1)
    error = np.stack([*(x.reshape(-1) for x in reversed(errors)), 0 * ones.reshape(-1)], -1)
    return Rounded(value, error, inner)


def _centres(
    n: int, corners: bool, precision: Precision, unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """(2i + 1 − n)/n, or (2i + 1 − n)/(n − 1), 0 if n = 1; each may err by 4u.

    Equal steps from −1 to 1 round the step, its multiple and the sum. (n − 1)/n and the product
    round as well, all on numbers below 1. Both forms are exact where the step is exact.
    """
    above = 2.0 * np.arange(n) + 1 - n
    if corners:
        value = above / (n - 1) if n > 1 else np.zeros(n)
        exact = n == 1 or (n - 1) & (n - 2) == 0
    else:
        value, exact = above / n, n <= 2
    error = 0.0 if exact and precision.bits else 4 * (unit + OWN)
    return value, np.full(n, error)


def grid_sample(
    state: State,
    input: Rounded,
    grid: Rounded,
    *,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Rounded | Choices:
    """output[n, :, …] is the input interpolated at the position grid[n, …].

    A position is (x, y) or (x, y, z), from the last axis to the first. NaN stands for −1.
    """
    inner = _working(grid.precision)
    dims = len(input.shape) - 2
    alongs = [Along(n, bool(align_corners), padding_mode) for n in input.shape[2:]]
    each = _each(grid.value)
    shape = (*input.shape[:2], *grid.shape[1:-1])
    if mode == "nearest":
        return _selected(input, grid, each, alongs, inner, shape)
    taps = taps_of(input.shape, grid, mode, padding_mode, bool(align_corners))
    value = stored(sampled(_read(input), taps), input.precision)
    lost = np.any([t.vague for t in taps], axis=0)[:, np.newaxis]
    value = value.with_error(np.where(lost, np.inf, value.error))
    value = value.map(lambda array: array.reshape(shape)).bare
    ways = [(0,)] * dims if mode == "bicubic" else _sides(each, alongs, inner)
    rounding: dict[int, Rounded] = {}
    found = []
    for way in product(*ways):

        def pull(cotangent: Rounded, way: tuple[int, ...] = way) -> list[Rounded | None]:
            c = _read(
                cotangent.bare.map(lambda array: array.reshape(*shape[:2], math.prod(shape[2:])))
            )
            if not rounding:
                rounding[0] = stored(scattered(c, taps, input.shape), input.precision)
            if grid.node is None:
                return [rounding[0], None]
            x = _read(input)
            parts = []
            for k in range(dims):
                if mode == "bicubic":
                    slope = cubic_slopes(each[k], alongs[k], inner)
                else:
                    slope = _slope(each[k], alongs[k], inner, way[k])
                parts.append(_along(c, x, [*taps[:k], slope, *taps[k + 1 :]], alongs[k], lost))
            return [rounding[0], _joined(parts[::-1], grid)]

        found.append(traced(value, [input, grid], pull))
    return found[0] if len(found) == 1 else Choices(tuple(found))


def taps_of(
    input: Shape, grid: Rounded, mode: str, padding_mode: str, align_corners: bool
) -> list[Taps]:
    """The taps of each axis, for the bilinear and bicubic modes.

    Args:
        mode, padding_mode, align_corners: as the arguments.
    """
    choose = cubic_taps if mode == "bicubic" else bilinear_taps
    inner = _working(grid.precision)
    alongs = [Along(n, align_corners, padding_mode) for n in input[2:]]
    return [choose(g, along, inner) for g, along in zip(_each(grid.value), alongs, strict=True)]


def _each(grid: np.ndarray) -> list[np.ndarray]:
    """The grid's numbers for each axis of the input, first axis first: (N, P) each."""
    numbers = np.where(np.isnan(grid), -1.0, grid)
    flat = numbers.reshape(len(numbers), math.prod(grid.shape[1:-1]), grid.shape[-1])
    return [flat[..., k] for k in reversed(range(grid.shape[-1]))]


def _working(precision: Precision) -> Precision:
    """The wide precision, or that of the dtype if the backend declares that it stores each step."""
    inner = wide(precision)
    return precision if declared(inner, "grid_samples") else inner


def _read(x: Rounded) -> Rounded:
    """An operand in the working precision of grid_sample."""
    return widened(x.bare) if _working(x.precision) != x.precision else x.bare


def _sides(
    each: Sequence[np.ndarray], alongs: Sequence[Along], precision: Precision
) -> list[tuple[int, ...]]:
    """For each axis the sides (1 above, −1 below) whose slopes are right somewhere on the grid.

    Where the padding reflects or clamps a position, 0 lies between the two slopes.
    """
    found: list[tuple[int, ...]] = []
    for g, along in zip(each, alongs, strict=True):
        low, high = (slopes(g, along, precision, side) for side in (-1, 1))
        same = all(np.array_equal(a, b) for a, b in zip(low, high, strict=True))
        turns = not np.array_equal(low[1], high[1])
        found.append((1,) if same else (1, -1, 0) if turns else (1, -1))
    return found


def _slope(grid: np.ndarray, along: Along, precision: Precision, side: int) -> Taps:
    """−1 and 1 for the two elements around a position, negated where the padding reflects."""
    floor, slope = slopes(grid, along, precision, side or 1)
    if not side:
        slope = np.where(slopes(grid, along, precision, -1)[1] == slope, slope, 0.0)
    index, inside = along.tap(floor[..., np.newaxis] + np.arange(2))
    value = np.stack([-slope, slope], -1) * inside
    vague = np.zeros(floor.shape, bool)
    weights = Rounded(value, np.zeros(value.shape), precision)
    return Taps(index, inside, weights, inside, vague, 2)


def _along(c: Rounded, x: Rounded, taps: Sequence[Taps], along: Along, lost: np.ndarray) -> Rounded:
    """Gradient of one coordinate: Σ over channels of cotangent times slope, in grid units."""
    found = sampled(x, taps, times=c)
    stretch = along.stretch
    value = found.value * stretch
    error = found.error * stretch
    if math.frexp(stretch)[0] != 0.5 and stretch:
        error = error + 2 * (found.precision.unit + OWN) * (np.abs(value) + error)
    return Rounded(value, np.where(lost[:, 0], np.inf, error), found.precision)


def _joined(parts: Sequence[Rounded], grid: Rounded) -> Rounded:
    """The gradient of the grid from the gradients of x, y and z."""
    value = np.stack([x.value for x in parts], -1).reshape(grid.shape)
    error = np.stack([x.error for x in parts], -1).reshape(grid.shape)
    return stored(Rounded(value, error, parts[0].precision), grid.precision)


def _selected(
    x: Rounded,
    grid: Rounded,
    each: Sequence[np.ndarray],
    alongs: Sequence[Along],
    precision: Precision,
    shape: Shape,
) -> Rounded | Choices:
    """The nearest element of each position, or either of two; the grid's gradient is 0."""
    rows = [nearest_taps(g, along, precision) for g, along in zip(each, alongs, strict=True)]
    lost = np.any([vague for _, _, vague in rows], axis=0)
    taps, ways = [], []
    for low, high, vague in rows:
        index, inside = (np.stack(pair, -1) for pair in zip(low, high, strict=True))
        one = (low[0] == high[0]) & (low[1] == high[1])
        value = np.where(one[..., np.newaxis], [1.0, 0.0], 0.5) * inside
        error = np.where(one[..., np.newaxis], 0.0, 0.5) * inside
        weights = Rounded(value, error, precision)
        taps.append(Taps(index, inside, weights, inside, vague, 1))
        ways.append((low,) if one.all() else (low, high))
    batch, read = np.arange(x.shape[0])[:, np.newaxis], as_read(x)
    found = []

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = _read(cotangent.bare.map(lambda array: array.reshape(*shape[:2], math.prod(shape[2:]))))
        zero = Rounded(np.zeros(grid.shape), np.zeros(grid.shape), grid.precision)
        return [stored(scattered(c, taps, x.shape), x.precision), zero]

    for way in product(*ways):
        within = np.all([inside for _, inside in way], axis=0)
        at: Any = (batch, slice(None), *(index for index, _ in way))
        # A slice between two indices: the channels come last.
        value, error = (np.moveaxis(array[at], -1, 1) for array in (read.value, read.error))
        value = np.where(within[:, np.newaxis], value, 0.0)
        error = np.where(within[:, np.newaxis], error, 0.0)
        error = np.where(lost[:, np.newaxis], np.inf, error)
        copy = Rounded(value.reshape(shape), error.reshape(shape), x.precision)
        found.append(traced(copy, [x, grid], pull))
    return found[0] if len(found) == 1 else Choices(tuple(found))
