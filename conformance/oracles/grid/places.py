"""Where a grid samples: the positions of its numbers, their taps and weights.

A number g of the grid stands for the position s = ((g + 1)·n − 1)/2 along an axis of n elements, or
(g + 1)/2·(n − 1) where ±1 are the centres of the corner pixels. An implementation computes s in
float32, in float64 for float64, and in half precision if the backend declares it. It errs by up to
δ. All interpolations except `nearest` are continuous in s, so δ becomes an error of their weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.exactness import quanta
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded
from conformance.model.formats import round_to
from conformance.oracles.interpolation.axis import cubic_weights

# The taps extend half an element beyond those of the exact position. With an error up to half of
# that, a position lies between two taps; with a larger one it may be on any element.
_VAGUE = 0.25


@dataclass(frozen=True)
class GridAxis:
    """One axis of the input: its length and how grid numbers map to it.

    Args:
        length: n.
        corners: ±1 are the centres of the first and the last element, not their edges.
        padding: `"zeros"`, `"border"` or `"reflection"`.
    """

    length: int
    corners: bool
    padding: str

    @property
    def stretch(self) -> float:
        """Elements for each unit of the grid."""
        return (self.length - 1) / 2 if self.corners else self.length / 2

    def to_position(self, grid: np.ndarray) -> np.ndarray:
        """The position that a number of the grid stands for, before padding."""
        if self.corners:
            return np.asarray((grid + 1) * 0.5 * (self.length - 1))
        return np.asarray(((grid + 1) * self.length - 1) * 0.5)

    def apply_padding(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A position after padding, and the padding's slope: 1, −1, or 0 where it clamps."""
        if self.padding == "zeros":
            return position, np.ones(position.shape)
        if self.padding == "border":
            return self._clip(position, np.ones(position.shape))
        low = 0.0 if self.corners else -0.5
        span = self.length - 1 if self.corners else self.length
        if not span:
            return np.zeros(position.shape), np.zeros(position.shape)
        # A remainder of numbers ≥ 0 is exact.
        folded = np.mod(np.abs(position - low), 2 * span)
        is_reversed = folded > span
        wave = np.where(is_reversed, 2 * span - folded, folded) + low
        return self._clip(wave, np.where(is_reversed != (position < low), -1.0, 1.0))

    def _clip(self, position: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        within = (position > 0) & (position < self.length - 1)
        return np.clip(position, 0, self.length - 1), np.where(within, slope, 0.0)

    def read_index(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The element that a tap reads, and whether it reads one: outside, zero padding has
        none.
        """
        if self.padding != "zeros":
            index = self.apply_padding(index)[0]
        inside = (index >= 0) & (index < self.length)
        return np.where(inside, index, 0).astype(np.int64), inside


@dataclass(frozen=True, eq=False)
class Taps:
    """The taps of one axis for each position (N, P).

    Args:
        index: the elements that they read, (N, P, K).
        inside: whether each tap reads an element, (N, P, K).
        weights: of shape (N, P, K).
        touched: where a correct implementation may multiply by a weight, even by 0.
        undecided: which positions may be on any element, (N, P).
        tap_count: number of taps that an implementation uses.
    """

    index: np.ndarray
    inside: np.ndarray
    weights: Rounded
    touched: np.ndarray
    undecided: np.ndarray
    tap_count: int


def position_error(grid: np.ndarray, axis: GridAxis, precision: Precision) -> np.ndarray:
    """δ: largest error of a computed position.

    g + 1, its product with n or n/2, and the difference round. Reflection adds a difference, a
    remainder and two sums.

    Args:
        grid: the grid's numbers along the axis.
        precision: in which positions are computed.
    """
    unit = precision.unit + ORACLE_UNIT
    shifted, factor = grid + 1, axis.length - 1 if axis.corners else axis.length
    # All steps are exact on small enough multiples of one power of two.
    quantum = np.minimum(quanta(grid), 1.0)
    exact = np.abs(shifted) * factor + np.abs(grid) + 2 <= np.ldexp(quantum, precision.bits)
    size = np.abs(shifted) * axis.stretch
    error = unit * (3 * size + 2)
    if axis.padding == "reflection":
        error = error + unit * (4 * np.abs(axis.to_position(grid)) + 4 * axis.length)
    return np.asarray(np.where(exact & bool(precision.bits), 0.0, error))


def bilinear_taps(grid: np.ndarray, axis: GridAxis, precision: Precision) -> Taps:
    """Weights 1 − t for element ⌊s⌋ and t for the next one, t = s − ⌊s⌋.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the weights are computed.
    """
    position, uncertainty = _padded_positions(grid, axis, precision)
    floor = np.floor(position)
    fraction = position - floor
    rounds_up = fraction > 0.5
    # Three taps: the nearest element and its two neighbours.
    first = floor - 1 + rounds_up
    values = [
        np.where(rounds_up, 1 - fraction, 0.0),
        np.where(rounds_up, fraction, 1 - fraction),
        np.where(rounds_up, 0.0, fraction),
    ]
    near_integer = np.minimum(fraction, 1 - fraction) <= uncertainty
    unit = precision.unit + ORACLE_UNIT
    errors = []
    for k, value in enumerate(values):
        is_extra = np.where(rounds_up, k == 2, k == 0)
        error = np.where(is_extra, np.where(near_integer, uncertainty, 0.0), uncertainty)
        is_exact = (uncertainty == 0) & (round_to(value, precision.dtype) == value)
        error = error + np.where(is_exact, 0.0, unit * value)
        errors.append((error, ~is_extra | near_integer))
    return _build_taps(
        first,
        axis,
        values,
        errors,
        precision,
        2,
        _undecided_positions(position, uncertainty, axis, precision),
    )


def cubic_taps(grid: np.ndarray, axis: GridAxis, precision: Precision) -> Taps:
    """Cubic weights of the four elements around s; the padding moves each tap separately.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the weights are computed.
    """
    position, uncertainty = axis.to_position(grid), position_error(grid, axis, precision)
    fraction = position - np.floor(position)
    weights = cubic_weights(fraction, uncertainty, precision)
    return _build_cubic_taps(position, uncertainty, axis, weights, precision)


def cubic_slopes(grid: np.ndarray, axis: GridAxis, precision: Precision) -> Taps:
    """The derivatives of the weights of `cubic_taps` by the position.

    They are continuous, too; their steepest slope is 4.5.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which they are computed.
    """
    position, uncertainty = axis.to_position(grid), position_error(grid, axis, precision)
    fraction = position - np.floor(position)
    unit = precision.unit + ORACLE_UNIT
    weights = []
    for offset, sign in ((1.0, 1.0), (0.0, 1.0), (-1.0, -1.0), (-2.0, -1.0)):
        x, a = np.abs(fraction + offset), -0.75
        near = (3 * (a + 2) * x - 2 * (a + 3)) * x
        far = (3 * a * x - 10 * a) * x + 8 * a
        value = sign * np.where(x <= 1, near, far)
        # Horner's two or three steps on terms of at most 12·|a|, 20·|a| and 8·|a|.
        steps = np.where(x <= 1, 10.0 * x, 6 * abs(a) * (3 * x * x + 10 * x + 8) / 2)
        weights.append(Rounded(value, 4.5 * uncertainty + steps * unit, precision))
    return _build_cubic_taps(position, uncertainty, axis, weights, precision)


def _build_cubic_taps(
    position: np.ndarray,
    uncertainty: np.ndarray,
    axis: GridAxis,
    weights: list[Rounded],
    precision: Precision,
) -> Taps:
    """Five taps: the four of s, and the one that joins on the other side of an integer."""
    floor = np.floor(position)
    fraction = position - floor
    rounds_up = fraction > 0.5
    near_integer = (np.minimum(fraction, 1 - fraction) <= uncertainty) & (uncertainty > 0)
    neighbour_error = np.where(near_integer, np.max([w.error for w in weights], axis=0), 0.0)
    zero = np.zeros(fraction.shape)
    padded = [
        (zero, neighbour_error),
        *((w.value, np.maximum(w.error, neighbour_error)) for w in weights),
        (zero, neighbour_error),
    ]
    values, errors = [], []
    for k in range(5):
        (low, low_error), (high, high_error) = padded[k], padded[k + 1]
        values.append(np.where(rounds_up, high, low))
        is_extra = np.where(rounds_up, k == 4, k == 0)
        errors.append((np.where(rounds_up, high_error, low_error), ~is_extra | near_integer))
    undecided = _undecided_positions(position, uncertainty, axis, precision)
    return _build_taps(floor - 2 + rounds_up, axis, values, errors, precision, 4, undecided)


def nearest_taps(
    grid: np.ndarray, axis: GridAxis, precision: Precision
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The nearest element, the other candidate (or the same), and where any element is possible.

    The documentation does not say which of two equally near elements is taken.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the positions are computed.
    """
    position, uncertainty = _padded_positions(grid, axis, precision)
    low, high = np.ceil(position - uncertainty - 0.5), np.floor(position + uncertainty + 0.5)
    return (
        axis.read_index(low),
        axis.read_index(high),
        _undecided_positions(position, uncertainty, axis, precision),
    )


def slopes(
    grid: np.ndarray, axis: GridAxis, precision: Precision, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """⌊s⌋ and the padding's slope just below or just above all possible positions.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the positions are computed.
        side: −1 for just below, 1 for just above.
    """
    position, uncertainty = axis.to_position(grid), position_error(grid, axis, precision)
    # Beyond δ and this sum's own rounding; an exact position has two sides, too.
    nudge = np.maximum(uncertainty * (1 + 2.0**-20), (1 + np.abs(position)) * 2.0**-44)
    padded, slope = axis.apply_padding(position + side * nudge)
    return np.floor(padded), slope


def _padded_positions(
    grid: np.ndarray, axis: GridAxis, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """Positions after padding, and their errors: 0 where clamping certainly gives an end."""
    position, uncertainty = axis.to_position(grid), position_error(grid, axis, precision)
    padded, slope = axis.apply_padding(position)
    if axis.padding == "zeros":
        return padded, uncertainty
    (low, below), (high, above) = (
        axis.apply_padding(position - uncertainty),
        axis.apply_padding(position + uncertainty),
    )
    if axis.padding == "border":
        is_constant = (
            np.isinf(position)
            | (position - uncertainty >= axis.length - 1)
            | (position + uncertainty <= 0)
        )
    else:
        is_constant = (slope == 0) & (below == 0) & (above == 0) & (low == high) & (low == padded)
        is_constant &= uncertainty < axis.length
    return padded, np.where(is_constant, 0.0, uncertainty)


def _undecided_positions(
    position: np.ndarray, uncertainty: np.ndarray, axis: GridAxis, precision: Precision
) -> np.ndarray:
    """Which positions may be on any element; not those certainly outside a zero-padded axis."""
    undecided = ~(uncertainty <= _VAGUE)
    if axis.padding == "zeros":
        outside = (position + uncertainty < -3) | (position - uncertainty > axis.length + 2)
        # An intermediate overflow gives ∞, whose weights are ∞ − ∞.
        undecided &= ~(outside & (4 * np.abs(position) < precision.largest))
    return np.asarray(undecided)


def _build_taps(
    first: np.ndarray,
    axis: GridAxis,
    values: list[np.ndarray],
    errors: list[tuple[np.ndarray, np.ndarray]],
    precision: Precision,
    tap_count: int,
    undecided: np.ndarray,
) -> Taps:
    """Consecutive taps, beginning with `first`."""
    count = len(values)
    index, inside = axis.read_index(first[..., np.newaxis] + np.arange(count))
    value = np.stack(values, -1)
    error = np.stack([error for error, _ in errors], -1)
    touched = np.stack([np.broadcast_to(t, first.shape) for _, t in errors], -1)
    # Outside the axis nothing is multiplied.
    certain = inside & np.isfinite(value) & np.isfinite(error)
    error, value = np.where(certain, error, 0.0), np.where(certain, value, 0.0)
    return Taps(
        index, inside, Rounded(value, error, precision), touched & inside, undecided, tap_count
    )
