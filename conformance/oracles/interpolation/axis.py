"""Position of each output of a resize in the input, along one axis, and its tap weights.

An output of a resize is a sum over taps in each spatial dimension; each weight is a product of one
weight for each dimension. The weights have errors themselves. An implementation computes an
output's position s in float32 (in float64 for float64), with an error up to δ, and evaluates the
filter there. This module computes positions as exact fractions. δ is 0 where s and every
intermediate number are numbers of the format, as with dyadic factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from conformance.arithmetic.elementary import known
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import OWN, Rounded, choose, exactly
from conformance.model.formats import FORMATS, round_to

# Largest number of taps beyond an end: three for a cubic filter with uncertain ⌊s⌋.
_BEYOND = 3
_CUBIC = -0.75
_CUBIC_ANTIALIAS = -0.5


@dataclass(frozen=True)
class Scale:
    """The step in the input for each step of the output, as a fraction.

    Args:
        above, below: numerator and denominator.
        factor: the step is the reciprocal of a scale factor, which may be rounded as well.
    """

    above: int
    below: int
    factor: bool = False

    @property
    def value(self) -> float:
        """The step as a float."""
        return self.above / self.below


@dataclass(frozen=True, eq=False)
class Places:
    """Positions s of outputs in the input.

    Args:
        floor: ⌊s⌋.
        rest: s − ⌊s⌋.
        error: δ, the largest error of a computed s.
    """

    floor: np.ndarray
    rest: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Axis:
    """The weights of one spatial dimension.

    Args:
        weights: (outputs, taps).
        reads: the element of the input that each tap reads, (taps).
        touched: where a correct implementation may multiply by a weight, even by 0.
        length: the input's length.
    """

    weights: Rounded
    reads: np.ndarray
    touched: np.ndarray
    length: int

    def gathered(self, weights: np.ndarray) -> np.ndarray:
        """Weights by element of the input, (outputs, length); taps that read one element are
        added.
        """
        if weights.shape[1] == self.length:
            return weights
        inner = weights[:, _BEYOND:-_BEYOND].copy()
        inner[:, 0] += weights[:, :_BEYOND].sum(1)
        inner[:, -1] += weights[:, -_BEYOND:].sum(1)
        return inner


def places(count: int, scale: Scale, form: str, precision: Precision) -> Places:
    """The position of each output.

    Args:
        scale: step in the input for each step of the output.
        form: `"corners"` (scale·i), `"centres"` (scale·(i + ½) − ½), `"edges"` (scale·(i + ½)).
        precision: in which the position is computed.
    """
    floor, rest, exact = _exactly_placed(count, scale, form, precision.dtype)
    if exact:
        return Places(floor, rest, np.zeros(count))
    # The scale rounds once, a given factor may round before that; product and ½ round, too.
    along = scale.value * (np.arange(count) + (0.0 if form == "corners" else 0.5))
    step = 2.0 if scale.factor else float(not _has(scale.value, scale.below, precision))
    error = (precision.unit + OWN) * ((step + 1.0) * along)
    if form == "centres":
        error = error + (precision.unit + OWN) * np.abs(along - 0.5)
    return Places(floor, rest, error + OWN * rest)


def _has(value: float, below: int, precision: Precision) -> bool:
    dyadic = below & (below - 1) == 0
    return dyadic and bool(round_to(np.array(value), precision.dtype) == value)


@lru_cache(maxsize=512)
def _exactly_placed(
    count: int, scale: Scale, form: str, dtype: str
) -> tuple[np.ndarray, np.ndarray, bool]:
    """⌊s⌋ and s − ⌊s⌋ by integer arithmetic; and whether computing s rounds nowhere."""
    above, below = scale.above, scale.below
    if form == "corners":
        start, step, whole = 0, above, below
    else:
        start, step, whole = (above - below if form == "centres" else above), 2 * above, 2 * below
    pairs = [divmod(start + i * step, whole) for i in range(count)]
    floor = np.array([floor for floor, _ in pairs], np.int64)
    rest = np.array([left / whole for _, left in pairs])
    most = abs(start + count * step) + whole
    exact = below & (below - 1) == 0 and most < 2 ** FORMATS[dtype].bits and below < 2**20
    return floor, rest, exact


def linear(
    count: int, length: int, scale: Scale, form: str, precision: Precision, stored: str
) -> Axis:
    """Weights 1 − λ of element ⌊s⌋ and λ of the next, λ = s − ⌊s⌋; outside, the end's element.

    Args:
        scale, form: as in `places`.
        precision: in which the weights are computed.
        stored: a dtype in which they may be stored; empty = none.
    """
    at = places(count, scale, form, precision)
    floor, rest, doubt = at.floor, at.rest, at.error
    exact = doubt == 0
    # A position beyond an end by more than its error certainly has the end's weight.
    below, last = floor < 0, floor >= length - 1
    certain = np.where(below, 1.0 - rest >= doubt, last & (rest >= doubt))
    floor, rest = np.where(below, 0, floor), np.where(below, 0.0, rest)
    doubt, exact = np.where(certain, 0.0, doubt), exact | (below & certain)
    unit = precision.unit + OWN
    first, second = 1.0 - rest, rest
    kept = exact & (round_to(first, precision.dtype) == first)
    errors = [doubt + np.where(kept, 0.0, unit * first), doubt.copy()]
    if stored:
        coarse = FORMATS[stored].unit
        same = exact & (round_to(first, stored) == first) & (round_to(second, stored) == second)
        # 1 − λ is computed from the stored λ.
        errors[0] += np.where(same, 0.0, coarse * (first + second) * (1 + coarse))
        errors[1] += np.where(same, 0.0, coarse * second)
    table = _Table(count, length)
    table.put(floor, first, errors[0])
    table.put(floor + 1, second, errors[1])
    # The computed position may be on the other side of an integer.
    table.maybe(floor - 1, np.where((rest <= doubt) & (floor > 0), doubt, 0.0))
    table.maybe(floor + 2, np.where(first <= doubt, doubt, 0.0))
    return table.axis(precision)


def cubic(
    count: int, length: int, scale: Scale, form: str, precision: Precision, stored: str
) -> Axis:
    """Cubic convolution of the four elements around s with a = −0.75, ends repeated.

    The page of interpolate does not give the constant. The page of grid_sample does, and says that
    packages differ.

    Args:
        scale, form: as in `places`.
        precision: in which the weights are computed.
        stored: a dtype in which each step may be stored; empty = none.
    """
    at = places(count, scale, form, precision)
    weights = cubic_weights(at.rest, at.error, precision, stored)
    table = _Table(count, length)
    for k, weight in enumerate(weights, -1):
        table.put(at.floor + k, weight.value, weight.error)
    near, far = at.rest <= at.error, 1.0 - at.rest <= at.error
    # On the other side of an integer each tap has the error of its neighbour.
    across = np.max([weight.error for weight in weights], axis=0)
    across = np.where((near | far) & (at.error > 0), across, 0.0)
    for k in range(-1, 3):
        table.maybe(at.floor + k, across)
    table.maybe(at.floor - 2, np.where(near, across, 0.0))
    table.maybe(at.floor + 3, np.where(far, across, 0.0))
    return table.axis(precision)


def cubic_weights(
    rest: np.ndarray, error: np.ndarray, precision: Precision, stored: str = ""
) -> list[Rounded]:
    """The weights of elements ⌊s⌋ − 1, …, ⌊s⌋ + 2 for s − ⌊s⌋ = t.

    Args:
        rest: t, from 0 to 1.
        error: largest error of t.
        precision: in which the weights are computed.
        stored: a dtype in which each step may be stored; empty = none.
    """
    found = []
    for offset in (1.0, 0.0, -1.0, -2.0):
        distance = np.abs(rest + offset)
        weight = _cubic(distance, _CUBIC, precision, error == 0)
        # The steepest slope of the filter is 1.35.
        doubt = weight.error + 1.35 * error
        if stored:
            same = (doubt == 0) & (round_to(weight.value, stored) == weight.value)
            doubt = doubt + np.where(same, 0.0, FORMATS[stored].unit * np.abs(weight.value))
        found.append(Rounded(weight.value, doubt, precision))
    return found


def _cubic_steps(x: np.ndarray, a: float) -> np.ndarray:
    """Error of Horner's scheme in units roundoff: each step's error times the later factors."""
    size = abs(a)
    # ((a + 2)·x − (a + 3))·x·x + 1: a product, a difference, two products and a sum.
    slope = (a + 2) * x
    inner = np.abs(slope - (a + 3))
    near = (slope + inner) * x * x + 2 * inner * x * x + np.abs(inner * x * x) + 1.0
    # ((a·x − 5a)·x + 8a)·x − 4a: the same steps; here x itself is a rounded sum of t and 1.
    one = size * np.abs(x - 5)
    two = size * np.abs((x - 5) * x + 8)
    far = ((size * x + one) * x + one * x + two) * x + two * x + 1.0
    return np.asarray(np.where(x <= 1, near, far))


def _cubic(x: np.ndarray, a: float, precision: Precision, certain: np.ndarray) -> Rounded:
    """The filter at a distance x ≥ 0, evaluated by Horner's scheme; exact where no step rounds."""
    like = exactly(x, precision)
    a2, a3, one = (known(np.array(c), like) for c in (a + 2, a + 3, 1.0))
    near = ((a2 * like - a3) * like) * like + one
    a1, a5, a8, a4 = (known(np.array(c), like) for c in (a, 5 * a, 8 * a, 4 * a))
    far = ((a1 * like - a5) * like + a8) * like - a4
    value = choose(x <= 1, near, far)
    value = choose(x >= 2, known(np.zeros(x.shape), like), value)
    # For an inexact position each step rounds.
    steps = _cubic_steps(x, a) * (precision.unit + OWN)
    error = np.where(certain, value.error, np.maximum(value.error, steps))
    return Rounded(value.value, error, precision)


@dataclass(frozen=True)
class Filter:
    """A filter for antialiasing.

    Args:
        reach: the filter is 0 from this distance on.
        steepest: largest absolute slope.
        at: (distance ≥ 0, precision, where the distance is exact) → the filter's values.
    """

    reach: float
    steepest: float
    at: Callable[[np.ndarray, Precision, np.ndarray], Rounded]


def _triangle(x: np.ndarray, precision: Precision, certain: np.ndarray) -> Rounded:
    value = np.maximum(1.0 - x, 0.0)
    same = certain & (round_to(value, precision.dtype) == value)
    return Rounded(value, np.where(same, 0.0, (precision.unit + OWN) * value), precision)


def _cubic_at(x: np.ndarray, precision: Precision, certain: np.ndarray) -> Rounded:
    return _cubic(x, _CUBIC_ANTIALIAS, precision, certain)


def _lanczos_at(x: np.ndarray, precision: Precision, certain: np.ndarray) -> Rounded:
    """sinc(x)·sinc(x/3) for x < 3, else 0.

    πx errs by 2u, its sine by that and two units in the last place, and the quotient rounds. So the
    factors p and q err by 2u + 7u·|p| and 2u + 7u·|q|, their product by 2u(|p| + |q|) + 15u·|p·q|.
    At 0 the filter is exactly 1.
    """
    one, two = np.abs(np.sinc(x)), np.abs(np.sinc(x / 3))
    inside = x < 3
    value = np.where(inside, np.sinc(x) * np.sinc(x / 3), 0.0)
    unit = precision.unit + OWN
    error = np.where(inside, unit * (2 * (one + two) + 15 * one * two), 0.0)
    return Rounded(value, np.where(certain & (x == 0), 0.0, error), precision)


FILTERS = {
    "bilinear": Filter(1.0, 1.0, _triangle),
    "bicubic": Filter(2.0, 1.4, _cubic_at),
    "lanczos": Filter(3.0, 1.9, _lanczos_at),
}


def antialiased(
    count: int, length: int, scale: Scale, form: str, precision: Precision, mode: str
) -> Axis:
    """A filter stretched by the step, at least by 1, with weights that sum to 1.

    Args:
        scale: step in the input for each step of the output.
        form: `"edges"`, or `"corners"` where the centres of corner pixels coincide.
        precision: in which the weights are computed.
    """
    given = FILTERS[mode]
    at = places(count, scale, form, precision)
    # An element's centre is half a step from its edge.
    centre = at.floor + at.rest + (0.5 if form == "corners" else 0.0)
    wide = max(scale.value, 1.0)
    # Distances are taken from the element at the output's centre, so that no digits are lost.
    offset = (np.arange(length) - at.floor[:, np.newaxis]) + 0.5
    offset = offset - (at.rest[:, np.newaxis] + (0.5 if form == "corners" else 0.0))
    distance = np.abs(offset) / wide
    unit = precision.unit + OWN
    exact = (at.error == 0) & _has(1.0 / wide, scale.above if wide > 1 else 1, precision)
    certain = np.broadcast_to(exact[:, np.newaxis], distance.shape)
    if form == "corners":
        certain = np.zeros(distance.shape, bool)
    # j − centre and ½ round, relative to the centre; the width's reciprocal and the product round.
    doubt = (at.error + 2 * unit * (centre + 1.0))[:, np.newaxis] / wide + 4 * unit * distance
    doubt = np.where(certain, 0.0, doubt)
    filtered = given.at(distance, precision, certain)
    reached = distance < given.reach + doubt
    weight = np.where(distance < given.reach, filtered.value, 0.0)
    error = np.where(reached, filtered.error + given.steepest * doubt, 0.0)
    # w/Σw: Σw errs by the sum of the weights' errors plus one unit for each addition.
    sums = weight.sum(1, keepdims=True)
    size = np.abs(weight)
    whole = size.sum(1, keepdims=True)
    taps = reached.sum(1, keepdims=True)
    settled = (error.sum(1, keepdims=True) == 0) & _adds_up(weight, precision)
    off = error.sum(1, keepdims=True) + np.where(settled, 0.0, taps * unit * whole)
    value = weight / sums
    room = sums - off
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (error + np.abs(value) * off) / room
    found = np.where(reached, np.where(room > 0, found, np.inf), 0.0)
    same = (error == 0) & (off == 0) & (np.frexp(sums)[0] == 0.5)
    found = np.where(same, 0.0, found + 2 * unit * np.abs(value))
    return Axis(Rounded(value, found, precision), np.arange(length), reached, length)


def _adds_up(weight: np.ndarray, precision: Precision) -> np.ndarray:
    """Whether the sum of a row of exact weights is exact: all are multiples of a power of two."""
    scaled = np.ldexp(weight, precision.bits // 2)
    return np.asarray((scaled == np.rint(scaled)).all(1, keepdims=True))


def averaged(count: int, length: int, precision: Precision) -> tuple[Axis, np.ndarray]:
    """Weights 1 for elements ⌊i·n/o⌋ ≤ j < ⌈(i + 1)·n/o⌉, and the number of these elements.

    Args:
        precision: that of the sums.
    """
    index = np.arange(count)
    first, end = index * length // count, -(-(index + 1) * length // count)
    place = np.arange(length)
    inside = (place >= first[:, np.newaxis]) & (place < end[:, np.newaxis])
    weights = exactly(inside.astype(float), precision)
    return Axis(weights, place, inside, length), (end - first).astype(float)


def nearest(
    count: int, length: int, scale: Scale, form: str, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """⌊s⌋, and its neighbour where s is so close to an integer that either may be computed.

    Args:
        scale, form: as in `places`.
    """
    at = places(count, scale, form, precision)
    doubtful = at.error > 0
    other = at.floor - ((at.rest <= at.error) & doubtful)
    other = other + ((1.0 - at.rest <= at.error) & doubtful)
    last = length - 1
    return np.clip(at.floor, 0, last), np.clip(other, 0, last)


def picked(index: np.ndarray, other: np.ndarray, length: int, precision: Precision) -> Axis:
    """Weights of a selection: 1, or anything from 0 to 1 for each of two possible elements.

    Args:
        index, other: the selected element and the other candidate.
        precision: that of the sums.
    """
    rows = np.arange(len(index))
    value, error = np.zeros((2, len(index), length))
    value[rows, index] += 0.5
    value[rows, other] += 0.5
    error[rows, index] = error[rows, other] = np.where(index == other, 0.0, 0.5)
    return Axis(Rounded(value, error, precision), np.arange(length), value > 0, length)


class _Table:
    """Weights by tap, filled with one tap of every output at a time."""

    def __init__(self, count: int, length: int) -> None:
        self.rows, self.length = np.arange(count), length
        shape = (count, length + 2 * _BEYOND)
        self.value, self.error = np.zeros(shape), np.zeros(shape)
        self.touched = np.zeros(shape, bool)

    def put(self, tap: np.ndarray, value: np.ndarray, error: np.ndarray) -> None:
        """Set one tap of every output; each tap of an output is set once."""
        column = tap + _BEYOND
        self.value[self.rows, column] = value
        self.error[self.rows, column] = error
        self.touched[self.rows, column] = True

    def maybe(self, tap: np.ndarray, error: np.ndarray) -> None:
        """Allow an error at a tap that is used only if the position lies across an integer."""
        column = np.clip(tap, -_BEYOND, self.length + _BEYOND - 1) + _BEYOND
        here = self.error[self.rows, column]
        self.error[self.rows, column] = np.maximum(here, error)
        self.touched[self.rows, column] |= error > 0

    def axis(self, precision: Precision) -> Axis:
        """The collected weights as an `Axis`."""
        reads = np.clip(np.arange(-_BEYOND, self.length + _BEYOND), 0, self.length - 1)
        return Axis(Rounded(self.value, self.error, precision), reads, self.touched, self.length)
