"""affine_grid and grid_sample.

Sources: the pages torch.nn.functional.affine_grid and grid_sample of the PyTorch documentation.
The former page has no formula: the grid consists of the centres of the output's pixels by the
convention of `align_corners`. Each is a vector (x, y, 1) or (x, y, z, 1), multiplied by the matrix.
The latter page does not say which of two equally near elements `nearest` takes: either is right. At
an element, and where the padding reflects or clamps a position, the output has two one-sided
slopes: either is right in the gradient of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import is_stored, stored, widened, working_precision
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import as_read
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, multilinear, with_pullback
from conformance.oracles.grid.places import (
    GridAxis,
    Taps,
    bilinear_taps,
    cubic_slopes,
    cubic_taps,
    nearest_taps,
    slopes,
)
from conformance.oracles.grid.sums import sample, scatter

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def affine_grid(
    state: State, theta: Rounded, *, size: Sequence[int], align_corners: bool | None = None
) -> Rounded:
    """grid[n, …, k] = Σ_j theta[n, k, j]·(x, y, 1)[j], of (x, y, z, 1) in three dimensions."""
    base = pixel_centres(tuple(size[2:]), bool(align_corners), theta.precision)
    terms = base.shape[-1] + 1

    def forward(theta: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("nkj,pj->npk", theta, base))

    def adjoint(c: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("npk,pj->nkj", c, base))

    shape = (theta.shape[0], *size[2:], base.shape[-1] - 1)
    grid = multilinear(forward, widened(theta.detached), base, terms=terms, wide=True)
    grid = stored(grid, theta.precision).map(lambda array: array.reshape(shape))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        flat = cotangent.detached.map(
            lambda array: array.reshape(len(array), math.prod(shape[1:-1]), shape[-1])
        )
        terms_count = max(base.shape[0], 1) + 1
        gradient = multilinear(adjoint, widened(flat), base, terms=terms_count, wide=True)
        return [stored(gradient, theta.precision)]

    return with_pullback(grid, [theta], pull)


def affine_grid_shape(
    theta: Shape, *, size: Sequence[int], align_corners: bool | None = None
) -> tuple[Shape, ...]:
    """(N, 2, 3) → (N, H, W, 2), or (N, 3, 4) → (N, D, H, W, 3)."""
    return ((theta[0], *size[2:], len(size) - 2),)


def pixel_centres(lengths: Shape, corners: bool, precision: Precision) -> Rounded:
    """(x, y, 1) or (x, y, z, 1) of each pixel, x along the last axis: (pixels, dimensions + 1).

    Args:
        lengths: the output's spatial sizes.
        corners: ±1 are the centres of the corner pixels.
        precision: that of the matrix; a backend may store the centres in it and multiply wide.
    """
    inner = working_precision(precision)
    unit = precision.unit if is_stored(inner, "grid_samples") else inner.unit
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
    numerator = 2.0 * np.arange(n) + 1 - n
    if corners:
        value = numerator / (n - 1) if n > 1 else np.zeros(n)
        exact = n == 1 or (n - 1) & (n - 2) == 0
    else:
        value, exact = numerator / n, n <= 2
    error = 0.0 if exact and precision.bits else 4 * (unit + ORACLE_UNIT)
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
    inner = _grid_precision(grid.precision)
    dims = len(input.shape) - 2
    axes = [GridAxis(n, bool(align_corners), padding_mode) for n in input.shape[2:]]
    coordinates = _coordinates_by_axis(grid.value)
    shape = (*input.shape[:2], *grid.shape[1:-1])
    if mode == "nearest":
        return _sample_nearest(input, grid, coordinates, axes, inner, shape)
    taps = axis_taps(input.shape, grid, mode, padding_mode, bool(align_corners))
    value = stored(sample(_to_grid_precision(input), taps), input.precision)
    undecided = np.any([t.undecided for t in taps], axis=0)[:, np.newaxis]
    value = value.with_error(np.where(undecided, np.inf, value.error))
    value = value.map(lambda array: array.reshape(shape)).detached
    sides = [(0,)] * dims if mode == "bicubic" else _sides(coordinates, axes, inner)
    rounding: dict[int, Rounded] = {}
    outputs = []
    for choice in product(*sides):

        def pull(cotangent: Rounded, side: tuple[int, ...] = choice) -> list[Rounded | None]:
            c = _to_grid_precision(
                cotangent.detached.map(
                    lambda array: array.reshape(*shape[:2], math.prod(shape[2:]))
                )
            )
            if not rounding:
                rounding[0] = stored(scatter(c, taps, input.shape), input.precision)
            if grid.node is None:
                return [rounding[0], None]
            x = _to_grid_precision(input)
            parts = []
            for k in range(dims):
                if mode == "bicubic":
                    slope = cubic_slopes(coordinates[k], axes[k], inner)
                else:
                    slope = _slope(coordinates[k], axes[k], inner, side[k])
                parts.append(
                    _coordinate_gradient(
                        c, x, [*taps[:k], slope, *taps[k + 1 :]], axes[k], undecided
                    )
                )
            return [rounding[0], _stack_gradients(parts[::-1], grid)]

        outputs.append(with_pullback(value, [input, grid], pull))
    return outputs[0] if len(outputs) == 1 else Choices(tuple(outputs))


def axis_taps(
    input: Shape, grid: Rounded, mode: str, padding_mode: str, align_corners: bool
) -> list[Taps]:
    """The taps of each axis, for the bilinear and bicubic modes.

    Args:
        mode, padding_mode, align_corners: as the arguments.
    """
    make_taps = cubic_taps if mode == "bicubic" else bilinear_taps
    inner = _grid_precision(grid.precision)
    axes = [GridAxis(n, align_corners, padding_mode) for n in input[2:]]
    return [
        make_taps(g, axis, inner)
        for g, axis in zip(_coordinates_by_axis(grid.value), axes, strict=True)
    ]


def _coordinates_by_axis(grid: np.ndarray) -> list[np.ndarray]:
    """The grid's numbers for each axis of the input, first axis first: (N, P) each."""
    numbers = np.where(np.isnan(grid), -1.0, grid)
    flat = numbers.reshape(len(numbers), math.prod(grid.shape[1:-1]), grid.shape[-1])
    return [flat[..., k] for k in reversed(range(grid.shape[-1]))]


def _grid_precision(precision: Precision) -> Precision:
    """The wide precision, or that of the dtype if the backend declares that it stores each step."""
    inner = working_precision(precision)
    return precision if is_stored(inner, "grid_samples") else inner


def _to_grid_precision(x: Rounded) -> Rounded:
    """An operand in the working precision of grid_sample."""
    return widened(x.detached) if _grid_precision(x.precision) != x.precision else x.detached


def _sides(
    coordinates: Sequence[np.ndarray], axes: Sequence[GridAxis], precision: Precision
) -> list[tuple[int, ...]]:
    """For each axis the sides (1 above, −1 below) whose slopes are right somewhere on the grid.

    Where the padding reflects or clamps a position, 0 lies between the two slopes.
    """
    choices: list[tuple[int, ...]] = []
    for g, axis in zip(coordinates, axes, strict=True):
        low, high = (slopes(g, axis, precision, side) for side in (-1, 1))
        same = all(np.array_equal(a, b) for a, b in zip(low, high, strict=True))
        turns = not np.array_equal(low[1], high[1])
        choices.append((1,) if same else (1, -1, 0) if turns else (1, -1))
    return choices


def _slope(grid: np.ndarray, axis: GridAxis, precision: Precision, side: int) -> Taps:
    """−1 and 1 for the two elements around a position, negated where the padding reflects."""
    floor, slope = slopes(grid, axis, precision, side or 1)
    if not side:
        slope = np.where(slopes(grid, axis, precision, -1)[1] == slope, slope, 0.0)
    index, inside = axis.read_index(floor[..., np.newaxis] + np.arange(2))
    value = np.stack([-slope, slope], -1) * inside
    undecided = np.zeros(floor.shape, bool)
    weights = Rounded(value, np.zeros(value.shape), precision)
    return Taps(index, inside, weights, inside, undecided, 2)


def _coordinate_gradient(
    c: Rounded, x: Rounded, taps: Sequence[Taps], axis: GridAxis, undecided: np.ndarray
) -> Rounded:
    """Gradient of one coordinate: Σ over channels of cotangent times slope, in grid units."""
    gradient = sample(x, taps, multiplier=c)
    stretch = axis.stretch
    value = gradient.value * stretch
    error = gradient.error * stretch
    if math.frexp(stretch)[0] != 0.5 and stretch:
        error = error + 2 * (gradient.precision.unit + ORACLE_UNIT) * (np.abs(value) + error)
    return Rounded(value, np.where(undecided[:, 0], np.inf, error), gradient.precision)


def _stack_gradients(parts: Sequence[Rounded], grid: Rounded) -> Rounded:
    """The gradient of the grid from the gradients of x, y and z."""
    value = np.stack([x.value for x in parts], -1).reshape(grid.shape)
    error = np.stack([x.error for x in parts], -1).reshape(grid.shape)
    return stored(Rounded(value, error, parts[0].precision), grid.precision)


def _sample_nearest(
    x: Rounded,
    grid: Rounded,
    coordinates: Sequence[np.ndarray],
    axes: Sequence[GridAxis],
    precision: Precision,
    shape: Shape,
) -> Rounded | Choices:
    """The nearest element of each position, or either of two; the grid's gradient is 0."""
    neighbours = [
        nearest_taps(g, axis, precision) for g, axis in zip(coordinates, axes, strict=True)
    ]
    undecided = np.any([vague for _, _, vague in neighbours], axis=0)
    taps, choices = [], []
    for low, high, vague in neighbours:
        index, inside = (np.stack(pair, -1) for pair in zip(low, high, strict=True))
        same = (low[0] == high[0]) & (low[1] == high[1])
        value = np.where(same[..., np.newaxis], [1.0, 0.0], 0.5) * inside
        error = np.where(same[..., np.newaxis], 0.0, 0.5) * inside
        weights = Rounded(value, error, precision)
        taps.append(Taps(index, inside, weights, inside, vague, 1))
        choices.append((low,) if same.all() else (low, high))
    batch, read = np.arange(x.shape[0])[:, np.newaxis], as_read(x)
    outputs = []

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = _to_grid_precision(
            cotangent.detached.map(lambda array: array.reshape(*shape[:2], math.prod(shape[2:])))
        )
        zero = Rounded(np.zeros(grid.shape), np.zeros(grid.shape), grid.precision)
        return [stored(scatter(c, taps, x.shape), x.precision), zero]

    for choice in product(*choices):
        within = np.all([inside for _, inside in choice], axis=0)
        selection: Any = (batch, slice(None), *(index for index, _ in choice))
        # A slice between two indices: the channels come last.
        value, error = (np.moveaxis(array[selection], -1, 1) for array in (read.value, read.error))
        value = np.where(within[:, np.newaxis], value, 0.0)
        error = np.where(within[:, np.newaxis], error, 0.0)
        error = np.where(undecided[:, np.newaxis], np.inf, error)
        copy = Rounded(value.reshape(shape), error.reshape(shape), x.precision)
        outputs.append(with_pullback(copy, [x, grid], pull))
    return outputs[0] if len(outputs) == 1 else Choices(tuple(outputs))
