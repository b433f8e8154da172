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

from conformance.arithmetic.elementary import constants
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, choose, exact_operand
from conformance.model.formats import FORMATS, round_to

# Largest number of taps beyond an end: three for a cubic filter with uncertain ⌊s⌋.
_OUTER_TAPS = 3
_CUBIC = -0.75
_CUBIC_ANTIALIAS = -0.5


@dataclass(frozen=True)
class Scale:
    """The step in the input for each step of the output, as a fraction.

    Args:
        numerator, denominator: numerator and denominator.
        from_factor: the step is the reciprocal of a scale factor, which may be rounded as well.
    """

    numerator: int
    denominator: int
    from_factor: bool = False

    @property
    def value(self) -> float:
        """The step as a float."""
        return self.numerator / self.denominator


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions s of outputs in the input.

    Args:
        floor: ⌊s⌋.
        fraction: s − ⌊s⌋.
        error: δ, the largest error of a computed s.
    """

    floor: np.ndarray
    fraction: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Axis:
    """The weights of one spatial dimension.

    Args:
        weights: (outputs, taps).
        read_index: the element of the input that each tap reads, (taps).
        touched: where a correct implementation may multiply by a weight, even by 0.
        length: the input's length.
    """

    weights: Rounded
    read_index: np.ndarray
    touched: np.ndarray
    length: int

    def by_element(self, weights: np.ndarray) -> np.ndarray:
        """Weights by element of the input, (outputs, length); taps that read one element are
        added.
        """
        if weights.shape[1] == self.length:
            return weights
        inner = weights[:, _OUTER_TAPS:-_OUTER_TAPS].copy()
        inner[:, 0] += weights[:, :_OUTER_TAPS].sum(1)
        inner[:, -1] += weights[:, -_OUTER_TAPS:].sum(1)
        return inner


def output_positions(count: int, scale: Scale, form: str, precision: Precision) -> Positions:
    """The position of each output.

    Args:
        scale: step in the input for each step of the output.
        form: `"corners"` (scale·i), `"centres"` (scale·(i + ½) − ½), `"edges"` (scale·(i + ½)).
        precision: in which the position is computed.
    """
    floor, fraction, exact = _exact_positions(count, scale, form, precision.dtype)
    if exact:
        return Positions(floor, fraction, np.zeros(count))
    # The scale rounds once, a given factor may round before that; product and ½ round, too.
    scaled_index = scale.value * (np.arange(count) + (0.0 if form == "corners" else 0.5))
    step = (
        2.0
        if scale.from_factor
        else float(not _is_representable(scale.value, scale.denominator, precision))
    )
    error = (precision.unit + ORACLE_UNIT) * ((step + 1.0) * scaled_index)
    if form == "centres":
        error = error + (precision.unit + ORACLE_UNIT) * np.abs(scaled_index - 0.5)
    return Positions(floor, fraction, error + ORACLE_UNIT * fraction)


def _is_representable(value: float, denominator: int, precision: Precision) -> bool:
    dyadic = denominator & (denominator - 1) == 0
    return dyadic and bool(round_to(np.array(value), precision.dtype) == value)


@lru_cache(maxsize=512)
def _exact_positions(
    count: int, scale: Scale, form: str, dtype: str
) -> tuple[np.ndarray, np.ndarray, bool]:
    """⌊s⌋ and s − ⌊s⌋ by integer arithmetic; and whether computing s rounds nowhere."""
    numerator, denominator = scale.numerator, scale.denominator
    if form == "corners":
        start, step, divisor = 0, numerator, denominator
    else:
        start, step, divisor = (
            (numerator - denominator if form == "centres" else numerator),
            2 * numerator,
            2 * denominator,
        )
    pairs = [divmod(start + i * step, divisor) for i in range(count)]
    floor = np.array([floor for floor, _ in pairs], np.int64)
    fraction = np.array([remainder / divisor for _, remainder in pairs])
    largest = abs(start + count * step) + divisor
    exact = (
        denominator & (denominator - 1) == 0
        and largest < 2 ** FORMATS[dtype].bits
        and denominator < 2**20
    )
    return floor, fraction, exact


def linear(
    count: int, length: int, scale: Scale, form: str, precision: Precision, storage_dtype: str
) -> Axis:
    """Weights 1 − λ of element ⌊s⌋ and λ of the next, λ = s − ⌊s⌋; outside, the end's element.

    Args:
        scale, form: as in `output_positions`.
        precision: in which the weights are computed.
        storage_dtype: a dtype in which they may be stored; empty = none.
    """
    positions = output_positions(count, scale, form, precision)
    floor, fraction, uncertainty = positions.floor, positions.fraction, positions.error
    exact = uncertainty == 0
    # A position beyond an end by more than its error certainly has the end's weight.
    before_start, after_end = floor < 0, floor >= length - 1
    certain = np.where(
        before_start, 1.0 - fraction >= uncertainty, after_end & (fraction >= uncertainty)
    )
    floor, fraction = np.where(before_start, 0, floor), np.where(before_start, 0.0, fraction)
    uncertainty, exact = np.where(certain, 0.0, uncertainty), exact | (before_start & certain)
    unit = precision.unit + ORACLE_UNIT
    first, second = 1.0 - fraction, fraction
    is_exact = exact & (round_to(first, precision.dtype) == first)
    errors = [uncertainty + np.where(is_exact, 0.0, unit * first), uncertainty.copy()]
    if storage_dtype:
        coarse = FORMATS[storage_dtype].unit
        stores_exactly = (
            exact
            & (round_to(first, storage_dtype) == first)
            & (round_to(second, storage_dtype) == second)
        )
        # 1 − λ is computed from the stored λ.
        errors[0] += np.where(stores_exactly, 0.0, coarse * (first + second) * (1 + coarse))
        errors[1] += np.where(stores_exactly, 0.0, coarse * second)
    table = _Table(count, length)
    table.set_tap(floor, first, errors[0])
    table.set_tap(floor + 1, second, errors[1])
    # The computed position may be on the other side of an integer.
    table.allow_tap(floor - 1, np.where((fraction <= uncertainty) & (floor > 0), uncertainty, 0.0))
    table.allow_tap(floor + 2, np.where(first <= uncertainty, uncertainty, 0.0))
    return table.to_axis(precision)


def cubic(
    count: int, length: int, scale: Scale, form: str, precision: Precision, storage_dtype: str
) -> Axis:
    """Cubic convolution of the four elements around s with a = −0.75, ends repeated.

    The page of interpolate does not give the constant. The page of grid_sample does, and says that
    packages differ.

    Args:
        scale, form: as in `output_positions`.
        precision: in which the weights are computed.
        storage_dtype: a dtype in which each step may be stored; empty = none.
    """
    positions = output_positions(count, scale, form, precision)
    weights = cubic_weights(positions.fraction, positions.error, precision, storage_dtype)
    table = _Table(count, length)
    for k, weight in enumerate(weights, -1):
        table.set_tap(positions.floor + k, weight.value, weight.error)
    near_floor, near_next = (
        positions.fraction <= positions.error,
        1.0 - positions.fraction <= positions.error,
    )
    # On the other side of an integer each tap has the error of its neighbour.
    neighbour_error = np.max([weight.error for weight in weights], axis=0)
    neighbour_error = np.where(
        (near_floor | near_next) & (positions.error > 0), neighbour_error, 0.0
    )
    for k in range(-1, 3):
        table.allow_tap(positions.floor + k, neighbour_error)
    table.allow_tap(positions.floor - 2, np.where(near_floor, neighbour_error, 0.0))
    table.allow_tap(positions.floor + 3, np.where(near_next, neighbour_error, 0.0))
    return table.to_axis(precision)


def cubic_weights(
    fraction: np.ndarray, error: np.ndarray, precision: Precision, storage_dtype: str = ""
) -> list[Rounded]:
    """The weights of elements ⌊s⌋ − 1, …, ⌊s⌋ + 2 for s − ⌊s⌋ = t.

    Args:
        fraction: t, from 0 to 1.
        error: largest error of t.
        precision: in which the weights are computed.
        storage_dtype: a dtype in which each step may be stored; empty = none.
    """
    weights = []
    for offset in (1.0, 0.0, -1.0, -2.0):
        distance = np.abs(fraction + offset)
        weight = _cubic(distance, _CUBIC, precision, error == 0)
        # The steepest slope of the filter is 1.35.
        uncertainty = weight.error + 1.35 * error
        if storage_dtype:
            is_exact = (uncertainty == 0) & (round_to(weight.value, storage_dtype) == weight.value)
            uncertainty = uncertainty + np.where(
                is_exact, 0.0, FORMATS[storage_dtype].unit * np.abs(weight.value)
            )
        weights.append(Rounded(weight.value, uncertainty, precision))
    return weights


def _cubic_steps(x: np.ndarray, a: float) -> np.ndarray:
    """Error of Horner's scheme in units roundoff: each step's error times the later factors."""
    size = abs(a)
    # ((a + 2)·x − (a + 3))·x·x + 1: a product, a difference, two products and a sum.
    slope = (a + 2) * x
    inner = np.abs(slope - (a + 3))
    near = (slope + inner) * x * x + 2 * inner * x * x + np.abs(inner * x * x) + 1.0
    # ((a·x − 5a)·x + 8a)·x − 4a: the same steps; here x itself is a rounded sum of t and 1.
    first_step = size * np.abs(x - 5)
    second_step = size * np.abs((x - 5) * x + 8)
    far = ((size * x + first_step) * x + first_step * x + second_step) * x + second_step * x + 1.0
    return np.asarray(np.where(x <= 1, near, far))


def _cubic(x: np.ndarray, a: float, precision: Precision, certain: np.ndarray) -> Rounded:
    """The filter at a distance x ≥ 0, evaluated by Horner's scheme; exact where no step rounds."""
    operand = exact_operand(x, precision)
    a2, a3, one = (constants(np.array(c), operand) for c in (a + 2, a + 3, 1.0))
    near = ((a2 * operand - a3) * operand) * operand + one
    a1, a5, a8, a4 = (constants(np.array(c), operand) for c in (a, 5 * a, 8 * a, 4 * a))
    far = ((a1 * operand - a5) * operand + a8) * operand - a4
    value = choose(x <= 1, near, far)
    value = choose(x >= 2, constants(np.zeros(x.shape), operand), value)
    # For an inexact position each step rounds.
    steps = _cubic_steps(x, a) * (precision.unit + ORACLE_UNIT)
    error = np.where(certain, value.error, np.maximum(value.error, steps))
    return Rounded(value.value, error, precision)


@dataclass(frozen=True)
class Filter:
    """A filter for antialiasing.

    Args:
        radius: the filter is 0 from this distance on.
        steepest: largest absolute slope.
        evaluate: (distance ≥ 0, precision, where the distance is exact) → the filter's values.
    """

    radius: float
    steepest: float
    evaluate: Callable[[np.ndarray, Precision, np.ndarray], Rounded]


def _triangle(x: np.ndarray, precision: Precision, certain: np.ndarray) -> Rounded:
    value = np.maximum(1.0 - x, 0.0)
    is_exact = certain & (round_to(value, precision.dtype) == value)
    return Rounded(
        value, np.where(is_exact, 0.0, (precision.unit + ORACLE_UNIT) * value), precision
    )


def _cubic_at(x: np.ndarray, precision: Precision, certain: np.ndarray) -> Rounded:
    return _cubic(x, _CUBIC_ANTIALIAS, precision, certain)


def _lanczos_at(x: np.ndarray, precision: Precision, certain: np.ndarray) -> Rounded:
    """sinc(x)·sinc(x/3) for x < 3, else 0.

    πx errs by 2u, its sine by that and two units in the last place, and the quotient rounds. So the
    factors p and q err by 2u + 7u·|p| and 2u + 7u·|q|, their product by 2u(|p| + |q|) + 15u·|p·q|.
    At 0 the filter is exactly 1.
    """
    outer, inner = np.abs(np.sinc(x)), np.abs(np.sinc(x / 3))
    inside = x < 3
    value = np.where(inside, np.sinc(x) * np.sinc(x / 3), 0.0)
    unit = precision.unit + ORACLE_UNIT
    error = np.where(inside, unit * (2 * (outer + inner) + 15 * outer * inner), 0.0)
    return Rounded(value, np.where(certain & (x == 0), 0.0, error), precision)


FILTERS = {
    "bilinear": Filter(1.0, 1.0, _triangle),
    "bicubic": Filter(2.0, 1.4, _cubic_at),
    "lanczos": Filter(3.0, 1.9, _lanczos_at),
}


def antialiased_axis(
    count: int, length: int, scale: Scale, form: str, precision: Precision, mode: str
) -> Axis:
    """A filter stretched by the step, at least by 1, with weights that sum to 1.

    Args:
        scale: step in the input for each step of the output.
        form: `"edges"`, or `"corners"` where the centres of corner pixels coincide.
        precision: in which the weights are computed.
    """
    kernel = FILTERS[mode]
    positions = output_positions(count, scale, form, precision)
    # An element's centre is half a step from its edge.
    centre = positions.floor + positions.fraction + (0.5 if form == "corners" else 0.0)
    width = max(scale.value, 1.0)
    # Distances are taken from the element at the output's centre, so that no digits are lost.
    offset = (np.arange(length) - positions.floor[:, np.newaxis]) + 0.5
    offset = offset - (positions.fraction[:, np.newaxis] + (0.5 if form == "corners" else 0.0))
    distance = np.abs(offset) / width
    unit = precision.unit + ORACLE_UNIT
    exact = (positions.error == 0) & _is_representable(
        1.0 / width, scale.numerator if width > 1 else 1, precision
    )
    certain = np.broadcast_to(exact[:, np.newaxis], distance.shape)
    if form == "corners":
        certain = np.zeros(distance.shape, bool)
    # j − centre and ½ round, relative to the centre; the width's reciprocal and the product round.
    uncertainty = (positions.error + 2 * unit * (centre + 1.0))[
        :, np.newaxis
    ] / width + 4 * unit * distance
    uncertainty = np.where(certain, 0.0, uncertainty)
    filtered = kernel.evaluate(distance, precision, certain)
    within_reach = distance < kernel.radius + uncertainty
    weight = np.where(distance < kernel.radius, filtered.value, 0.0)
    error = np.where(within_reach, filtered.error + kernel.steepest * uncertainty, 0.0)
    # w/Σw: Σw errs by the sum of the weights' errors plus one unit for each addition.
    sums = weight.sum(1, keepdims=True)
    size = np.abs(weight)
    abs_sums = size.sum(1, keepdims=True)
    taps = within_reach.sum(1, keepdims=True)
    sum_is_exact = (error.sum(1, keepdims=True) == 0) & _adds_up(weight, precision)
    sum_error = error.sum(1, keepdims=True) + np.where(sum_is_exact, 0.0, taps * unit * abs_sums)
    value = weight / sums
    smallest_sum = sums - sum_error
    with np.errstate(divide="ignore", invalid="ignore"):
        weight_error = (error + np.abs(value) * sum_error) / smallest_sum
    weight_error = np.where(within_reach, np.where(smallest_sum > 0, weight_error, np.inf), 0.0)
    is_exact = (error == 0) & (sum_error == 0) & (np.frexp(sums)[0] == 0.5)
    weight_error = np.where(is_exact, 0.0, weight_error + 2 * unit * np.abs(value))
    return Axis(Rounded(value, weight_error, precision), np.arange(length), within_reach, length)


def _adds_up(weight: np.ndarray, precision: Precision) -> np.ndarray:
    """Whether the sum of a row of exact weights is exact: all are multiples of a power of two."""
    scaled = np.ldexp(weight, precision.bits // 2)
    return np.asarray((scaled == np.rint(scaled)).all(1, keepdims=True))


def averaging_axis(count: int, length: int, precision: Precision) -> tuple[Axis, np.ndarray]:
    """Weights 1 for elements ⌊i·n/o⌋ ≤ j < ⌈(i + 1)·n/o⌉, and the number of these elements.

    Args:
        precision: that of the sums.
    """
    index = np.arange(count)
    first, end = index * length // count, -(-(index + 1) * length // count)
    position = np.arange(length)
    inside = (position >= first[:, np.newaxis]) & (position < end[:, np.newaxis])
    weights = exact_operand(inside.astype(float), precision)
    return Axis(weights, position, inside, length), (end - first).astype(float)


def nearest(
    count: int, length: int, scale: Scale, form: str, precision: Precision
) -> tuple[np.ndarray, np.ndarray]:
    """⌊s⌋, and its neighbour where s is so close to an integer that either may be computed.

    Args:
        scale, form: as in `output_positions`.
    """
    positions = output_positions(count, scale, form, precision)
    doubtful = positions.error > 0
    neighbour = positions.floor - ((positions.fraction <= positions.error) & doubtful)
    neighbour = neighbour + ((1.0 - positions.fraction <= positions.error) & doubtful)
    last = length - 1
    return np.clip(positions.floor, 0, last), np.clip(neighbour, 0, last)


def selection_axis(
    index: np.ndarray, neighbour: np.ndarray, length: int, precision: Precision
) -> Axis:
    """Weights of a selection: 1, or anything from 0 to 1 for each of two possible elements.

    Args:
        index, neighbour: the selected element and the other candidate.
        precision: that of the sums.
    """
    rows = np.arange(len(index))
    value, error = np.zeros((2, len(index), length))
    value[rows, index] += 0.5
    value[rows, neighbour] += 0.5
    error[rows, index] = error[rows, neighbour] = np.where(index == neighbour, 0.0, 0.5)
    return Axis(Rounded(value, error, precision), np.arange(length), value > 0, length)


class _Table:
    """Weights by tap, filled with one tap of every output at a time."""

    def __init__(self, count: int, length: int) -> None:
        self.rows, self.length = np.arange(count), length
        shape = (count, length + 2 * _OUTER_TAPS)
        self.value, self.error = np.zeros(shape), np.zeros(shape)
        self.touched = np.zeros(shape, bool)

    def set_tap(self, tap: np.ndarray, value: np.ndarray, error: np.ndarray) -> None:
        """Set one tap of every output; each tap of an output is set once."""
        column = tap + _OUTER_TAPS
        self.value[self.rows, column] = value
        self.error[self.rows, column] = error
        self.touched[self.rows, column] = True

    def allow_tap(self, tap: np.ndarray, error: np.ndarray) -> None:
        """Allow an error at a tap that is used only if the position lies across an integer."""
        column = np.clip(tap, -_OUTER_TAPS, self.length + _OUTER_TAPS - 1) + _OUTER_TAPS
        present_error = self.error[self.rows, column]
        self.error[self.rows, column] = np.maximum(present_error, error)
        self.touched[self.rows, column] |= error > 0

    def to_axis(self, precision: Precision) -> Axis:
        """The collected weights as an `Axis`."""
        reads = np.clip(np.arange(-_OUTER_TAPS, self.length + _OUTER_TAPS), 0, self.length - 1)
        return Axis(Rounded(self.value, self.error, precision), reads, self.touched, self.length)
