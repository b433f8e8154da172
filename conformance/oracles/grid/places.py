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
from conformance.arithmetic.rounded import OWN, Rounded
from conformance.model.formats import round_to
from conformance.oracles.interpolation.axis import cubic_weights

# The taps extend half an element beyond those of the exact position. With an error up to half of
# that, a position lies between two taps; with a larger one it may be on any element.
_VAGUE = 0.25


@dataclass(frozen=True)
class Along:
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

    def raw(self, grid: np.ndarray) -> np.ndarray:
        """The position that a number of the grid stands for, before padding."""
        if self.corners:
            return np.asarray((grid + 1) * 0.5 * (self.length - 1))
        return np.asarray(((grid + 1) * self.length - 1) * 0.5)

    def padded(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A position after padding, and the padding's slope: 1, −1, or 0 where it clamps."""
        if self.padding == "zeros":
            return place, np.ones(place.shape)
        if self.padding == "border":
            return self._clipped(place, np.ones(place.shape))
        low = 0.0 if self.corners else -0.5
        span = self.length - 1 if self.corners else self.length
        if not span:
            return np.zeros(place.shape), np.zeros(place.shape)
        # A remainder of numbers ≥ 0 is exact.
        turned = np.mod(np.abs(place - low), 2 * span)
        back = turned > span
        wave = np.where(back, 2 * span - turned, turned) + low
        return self._clipped(wave, np.where(back != (place < low), -1.0, 1.0))

    def _clipped(self, place: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        within = (place > 0) & (place < self.length - 1)
        return np.clip(place, 0, self.length - 1), np.where(within, slope, 0.0)

    def tap(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The element that a tap reads, and whether it reads one: outside, zero padding has
        none.
        """
        if self.padding != "zeros":
            index = self.padded(index)[0]
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
        vague: which positions may be on any element, (N, P).
        usual: number of taps that an implementation uses.
    """

    index: np.ndarray
    inside: np.ndarray
    weights: Rounded
    touched: np.ndarray
    vague: np.ndarray
    usual: int


def raw_error(grid: np.ndarray, along: Along, precision: Precision) -> np.ndarray:
    """δ: largest error of a computed position.

    g + 1, its product with n or n/2, and the difference round. Reflection adds a difference, a
    remainder and two sums.

    Args:
        grid: the grid's numbers along the axis.
        precision: in which positions are computed.
    """
    unit = precision.unit + OWN
    one, times = grid + 1, along.length - 1 if along.corners else along.length
    # All steps are exact on small enough multiples of one power of two.
    quantum = np.minimum(quanta(grid), 1.0)
    exact = np.abs(one) * times + np.abs(grid) + 2 <= np.ldexp(quantum, precision.bits)
    size = np.abs(one) * along.stretch
    error = unit * (3 * size + 2)
    if along.padding == "reflection":
        error = error + unit * (4 * np.abs(along.raw(grid)) + 4 * along.length)
    return np.asarray(np.where(exact & bool(precision.bits), 0.0, error))


def bilinear_taps(grid: np.ndarray, along: Along, precision: Precision) -> Taps:
    """Weights 1 − t for element ⌊s⌋ and t for the next one, t = s − ⌊s⌋.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the weights are computed.
    """
    place, doubt = _padded(grid, along, precision)
    floor = np.floor(place)
    rest = place - floor
    up = rest > 0.5
    # Three taps: the nearest element and its two neighbours.
    first = floor - 1 + up
    values = [np.where(up, 1 - rest, 0.0), np.where(up, rest, 1 - rest), np.where(up, 0.0, rest)]
    near = np.minimum(rest, 1 - rest) <= doubt
    unit = precision.unit + OWN
    found = []
    for k, value in enumerate(values):
        spare = np.where(up, k == 2, k == 0)
        error = np.where(spare, np.where(near, doubt, 0.0), doubt)
        same = (doubt == 0) & (round_to(value, precision.dtype) == value)
        error = error + np.where(same, 0.0, unit * value)
        found.append((error, ~spare | near))
    return _made(first, along, values, found, precision, 2, _lost(place, doubt, along, precision))


def cubic_taps(grid: np.ndarray, along: Along, precision: Precision) -> Taps:
    """Cubic weights of the four elements around s; the padding moves each tap separately.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the weights are computed.
    """
    place, doubt = along.raw(grid), raw_error(grid, along, precision)
    rest = place - np.floor(place)
    four = cubic_weights(rest, doubt, precision)
    return _cubic_made(place, doubt, along, four, precision)


def cubic_slopes(grid: np.ndarray, along: Along, precision: Precision) -> Taps:
    """The derivatives of the weights of `cubic_taps` by the position.

    They are continuous, too; their steepest slope is 4.5.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which they are computed.
    """
    place, doubt = along.raw(grid), raw_error(grid, along, precision)
    rest = place - np.floor(place)
    unit = precision.unit + OWN
    four = []
    for offset, sign in ((1.0, 1.0), (0.0, 1.0), (-1.0, -1.0), (-2.0, -1.0)):
        x, a = np.abs(rest + offset), -0.75
        near = (3 * (a + 2) * x - 2 * (a + 3)) * x
        far = (3 * a * x - 10 * a) * x + 8 * a
        value = sign * np.where(x <= 1, near, far)
        # Horner's two or three steps on terms of at most 12·|a|, 20·|a| and 8·|a|.
        steps = np.where(x <= 1, 10.0 * x, 6 * abs(a) * (3 * x * x + 10 * x + 8) / 2)
        four.append(Rounded(value, 4.5 * doubt + steps * unit, precision))
    return _cubic_made(place, doubt, along, four, precision)


def _cubic_made(
    place: np.ndarray,
    doubt: np.ndarray,
    along: Along,
    four: list[Rounded],
    precision: Precision,
) -> Taps:
    """Five taps: the four of s, and the one that joins on the other side of an integer."""
    floor = np.floor(place)
    rest = place - floor
    up = rest > 0.5
    near = (np.minimum(rest, 1 - rest) <= doubt) & (doubt > 0)
    across = np.where(near, np.max([w.error for w in four], axis=0), 0.0)
    none = np.zeros(rest.shape)
    padded = [
        (none, across),
        *((w.value, np.maximum(w.error, across)) for w in four),
        (none, across),
    ]
    values, found = [], []
    for k in range(5):
        (low, low_error), (high, high_error) = padded[k], padded[k + 1]
        values.append(np.where(up, high, low))
        spare = np.where(up, k == 4, k == 0)
        found.append((np.where(up, high_error, low_error), ~spare | near))
    lost = _lost(place, doubt, along, precision)
    return _made(floor - 2 + up, along, values, found, precision, 4, lost)


def nearest_taps(
    grid: np.ndarray, along: Along, precision: Precision
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The nearest element, the other candidate (or the same), and where any element is possible.

    The documentation does not say which of two equally near elements is taken.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the positions are computed.
    """
    place, doubt = _padded(grid, along, precision)
    low, high = np.ceil(place - doubt - 0.5), np.floor(place + doubt + 0.5)
    return along.tap(low), along.tap(high), _lost(place, doubt, along, precision)


def slopes(
    grid: np.ndarray, along: Along, precision: Precision, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """⌊s⌋ and the padding's slope just below or just above all possible positions.

    Args:
        grid: the grid's numbers along the axis, (N, P).
        precision: in which the positions are computed.
        side: −1 or 1.
    """
    place, doubt = along.raw(grid), raw_error(grid, along, precision)
    # Beyond δ and this sum's own rounding; an exact position has two sides, too.
    nudge = np.maximum(doubt * (1 + 2.0**-20), (1 + np.abs(place)) * 2.0**-44)
    found, slope = along.padded(place + side * nudge)
    return np.floor(found), slope


def _padded(grid: np.ndarray, along: Along, precision: Precision) -> tuple[np.ndarray, np.ndarray]:
    """Positions after padding, and their errors: 0 where clamping certainly gives an end."""
    place, doubt = along.raw(grid), raw_error(grid, along, precision)
    found, slope = along.padded(place)
    if along.padding == "zeros":
        return found, doubt
    (low, below), (high, above) = along.padded(place - doubt), along.padded(place + doubt)
    if along.padding == "border":
        still = np.isinf(place) | (place - doubt >= along.length - 1) | (place + doubt <= 0)
    else:
        still = (slope == 0) & (below == 0) & (above == 0) & (low == high) & (low == found)
        still &= doubt < along.length
    return found, np.where(still, 0.0, doubt)


def _lost(place: np.ndarray, doubt: np.ndarray, along: Along, precision: Precision) -> np.ndarray:
    """Which positions may be on any element; not those certainly outside a zero-padded axis."""
    vague = ~(doubt <= _VAGUE)
    if along.padding == "zeros":
        beyond = (place + doubt < -3) | (place - doubt > along.length + 2)
        # An intermediate overflow gives ∞, whose weights are ∞ − ∞.
        vague &= ~(beyond & (4 * np.abs(place) < precision.largest))
    return np.asarray(vague)


def _made(
    first: np.ndarray,
    along: Along,
    values: list[np.ndarray],
    found: list[tuple[np.ndarray, np.ndarray]],
    precision: Precision,
    usual: int,
    vague: np.ndarray,
) -> Taps:
    """Consecutive taps, beginning with `first`."""
    count = len(values)
    index, inside = along.tap(first[..., np.newaxis] + np.arange(count))
    value = np.stack(values, -1)
    error = np.stack([error for error, _ in found], -1)
    touched = np.stack([np.broadcast_to(t, first.shape) for _, t in found], -1)
    # Outside the axis nothing is multiplied.
    known = inside & np.isfinite(value) & np.isfinite(error)
    error, value = np.where(known, error, 0.0), np.where(known, value, 0.0)
    return Taps(index, inside, Rounded(value, error, precision), touched & inside, vague, usual)
