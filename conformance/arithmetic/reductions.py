"""Sums, means, variances, maxima and softmax along axes, in whatever order they are computed.

A sum of n terms errs by at most (n − 1)·u·Σ|terms| in any order (Jeannerod and Rump, 2013). It is
exact where all terms are multiples of one power of two and Σ|terms| fits the format.
"""

from __future__ import annotations

import math

import numpy as np

from conformance.arithmetic.elementary import constant, exp, log, square
from conformance.arithmetic.exactness import any_true
from conformance.arithmetic.half_precision import saved_for_backward, stored_if_declared
from conformance.arithmetic.rounded import (
    ORACLE_UNIT,
    Rounded,
    move_cotangent,
    multilinear,
    with_pullback,
)
from conformance.arithmetic.saturation import SIGMOID_ZERO

Axes = int | tuple[int, ...] | None

# e^x is 0 in every format at half of this, hence also for any rounding of x − max.
_NEGLIGIBLE_EXPONENT = 2.0 * SIGMOID_ZERO


def total(x: Rounded, axes: Axes = None, *, keepdims: bool = False) -> Rounded:
    """The sum in any order. The sum of one element is exactly that element, of none exactly 0.

    Args:
        axes: axes to sum over; None = all.
        keepdims: keep the summed axes with length 1.
    """
    reduced_axes = _normalise_axes(x, axes)
    count = math.prod(x.shape[axis] for axis in reduced_axes)

    def sum_values(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.sum(axis=reduced_axes, keepdims=keepdims))

    if count == 1:
        return x.map(lambda array: _drop_axes(array, reduced_axes, keepdims))
    if not count:
        return Rounded(sum_values(x.value), sum_values(x.error), x.precision)

    def grain(y: Rounded) -> np.ndarray:
        return np.asarray(y.quanta.min(axis=reduced_axes, keepdims=keepdims))

    # A plain sum rounds once less than it has terms; in a sum of products each product rounds too.
    summed = multilinear(sum_values, x.detached, terms=count - 1, grain=grain)
    result = Rounded(
        summed.value, summed.error, x.precision, summed.magnitude, summed.grain, summed.terms + 1
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [
            move_cotangent(
                cotangent, lambda array: _broadcast_back(array, x, reduced_axes, keepdims)
            )
        ]

    return with_pullback(result, [x], pull)


def mean(
    x: Rounded, axes: Axes = None, *, keepdims: bool = False, running: bool = False
) -> Rounded:
    """The sum divided by the number of elements; NaN for no elements.

    Args:
        axes: axes to average over; None = all.
        keepdims: keep the averaged axes with length 1.
        running: the mean may be updated element by element (Welford). At step k the difference and
            its quotient err by 2u·|xₖ − mₖ₋₁|/n. Since |mₖ₋₁| ≤ Σ|x|/(k − 1), the steps add up to
            2u·(2 + ln n)·Σ|x|/n.
    """
    reduced_axes = _normalise_axes(x, axes)
    count = math.prod(x.shape[axis] for axis in reduced_axes)
    result = divide_by_count(total(x, reduced_axes, keepdims=keepdims), count)
    if running and count > 2:
        mean_magnitude = (np.abs(x.value) + x.error).sum(
            axis=reduced_axes, keepdims=keepdims
        ) / count
        steps = 2 * (2 + math.log(count)) * (x.precision.unit + ORACLE_UNIT) * mean_magnitude
        steps = steps + count * x.precision.underflow  # of a quotient at each step
        result = result.with_error(result.error + steps)
    return result


def divide_by_count(x: Rounded, count: float) -> Rounded:
    """x/count, with a bound that also covers multiplying by the rounded reciprocal.

    Args:
        count: the divisor; with a power of two both forms are exact.
    """
    quotient = x.detached / constant(float(count), x)
    if count > 0 and math.frexp(count)[0] != 0.5:
        reciprocal_error = (x.precision.unit + ORACLE_UNIT) * quotient.abs_bound
        quotient = quotient.with_error(
            quotient.error + np.where(quotient.error > 0, reciprocal_error, 0.0)
        )
    return with_pullback(quotient, [x], lambda cotangent: [divide_by_count(cotangent, count)])


def variance(
    x: Rounded,
    axes: Axes = None,
    *,
    correction: float = 1.0,
    keepdims: bool = False,
    running: bool = True,
) -> Rounded:
    """Σ(x − μ)²/(n − correction), in two passes or by Welford's updates.

    The error of μ counts in each difference separately, although Σ(x − μ) = 0. That makes n·u·κ
    with κ = √(1 + μ²/v), which Welford's algorithm needs (Chan, Golub and LeVeque, *Algorithms for
    computing the sample variance*, 1983). E[x²] − E[x]² errs by n·u·κ², which is too much.

    Args:
        axes: axes to reduce; None = all.
        correction: 1 for the unbiased variance, 0 for the biased one.
        keepdims: keep the reduced axes with length 1.
        running: allow Welford's updates, which divide by 3; False = two passes only, exact where
            those are exact.
    """
    reduced_axes = _normalise_axes(x, axes)
    count = math.prod(x.shape[axis] for axis in reduced_axes)
    deviation = x - mean(x, reduced_axes, keepdims=True, running=running)
    summed = total(square(deviation), reduced_axes, keepdims=keepdims)
    return divide_by_count(summed, max(count - correction, 0.0))


def maximum(x: Rounded, axis: Axes, *, keepdims: bool = False) -> Rounded:
    """The largest element, copied without rounding; NaN where any element is NaN.

    Where several elements are or may be the largest, the gradient may go to any of them or be
    shared: each gets anything from 0 to all of it.

    Args:
        x: at least one element along the axes.
        axis: axes to reduce; None = all.
        keepdims: keep the reduced axes with length 1.
    """
    reduced_axes = _normalise_axes(x, axis)
    value = np.asarray(x.value.max(axis=reduced_axes, keepdims=True))
    with np.errstate(invalid="ignore"):
        upper = (x.value + x.error).max(axis=reduced_axes, keepdims=True)
        lower = np.asarray((x.value - x.error).max(axis=reduced_axes, keepdims=True))
        error = np.maximum(upper - value, value - lower)
    exact = x.error.max(axis=reduced_axes, keepdims=True) == 0  # of infinite numbers, too
    exact |= (np.isnan(x.value) & (x.error == 0)).any(axis=reduced_axes, keepdims=True)
    error = np.where(exact, 0.0, np.where(np.isnan(error), np.inf, error))
    shape = value.shape if keepdims else _drop_axes(value, reduced_axes, False).shape
    result = Rounded(value.reshape(shape), error.reshape(shape), x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        candidate = (x.value + x.error >= lower) | np.isnan(x.value)
        is_unique = candidate.sum(axis=reduced_axes, keepdims=True) == 1
        c, e = (
            _broadcast_back(array, x, reduced_axes, keepdims)
            for array in (cotangent.value, cotangent.error)
        )
        value = np.where(candidate, np.where(is_unique, c, 0.5 * c), 0.0)
        error = np.where(is_unique, e, 0.5 * np.abs(c) + e)
        return [Rounded(value, np.where(candidate, error, 0.0), cotangent.precision)]

    return with_pullback(result, [x], pull)


def as_read(x: Rounded) -> Rounded:
    """The operand, in doubt where the backend may read a subnormal number as zero."""
    read = x.flushed if x.precision.flushes else x
    return x if read is x else with_pullback(read, [x], lambda cotangent: [cotangent])


def softmax(x: Rounded, axis: int) -> Rounded:
    """e^(x − max)/Σe^(x − max), or times the reciprocal of the sum, which rounds once more.

    An error of the maximum changes all exponents equally and cancels, so the maximum counts as
    exact. −∞ gives 0; a row of only −∞, or with ∞ or NaN, is NaN.

    Args:
        axis: the axis along which the results sum to 1.
    """
    exponentials, _, _ = _shifted_exponentials(x, axis)
    exponentials = stored_if_declared(exponentials, "exponentials")
    quotient = exponentials / total(exponentials, axis, keepdims=True)
    reciprocal_error = (x.precision.unit + ORACLE_UNIT) * quotient.abs_bound + x.precision.underflow
    error = quotient.error + np.where(quotient.error > 0, reciprocal_error, 0.0)
    result = _propagate_nan(Rounded(quotient.value, error, x.precision), x, axis)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # p·(c − Σ c p), or c p − p·Σ c p, which rounds the products.
        p = saved_for_backward(result)
        weighted = stored_if_declared(cotangent * p, "exponentials")
        inner = total(weighted, axis, keepdims=True)
        difference = stored_if_declared(cotangent.detached - inner, "exponentials")
        centred, expanded = p * difference, weighted - p * inner
        return [centred.with_error(np.maximum(centred.error, expanded.error))]

    return with_pullback(result, [x], pull)


def log_softmax(x: Rounded, axis: int) -> Rounded:
    """(x − max) − log Σe^(x − max), or x − (max + log Σ), which rounds max + log Σ.

    Args:
        axis: the axis along which the exponentials of the results sum to 1.
    """
    exponentials, shifted, shift = _shifted_exponentials(x, axis)
    summed = stored_if_declared(total(exponentials, axis, keepdims=True), "log_sum")
    log_sum = stored_if_declared(log(summed), "log_sum")
    direct = stored_if_declared(shifted, "log_sum") - log_sum
    with np.errstate(invalid="ignore"):
        alternative = x.detached - (Rounded(shift, np.zeros(shift.shape), x.precision) + log_sum)
    error = np.maximum(direct.error, alternative.error)
    impossible = np.isneginf(x.value) & (x.error == 0) & np.isfinite(log_sum.error)
    result = _propagate_nan(
        Rounded(direct.value, np.where(impossible, 0.0, error), x.precision), x, axis
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        summed = stored_if_declared(total(cotangent, axis, keepdims=True), "log_sum")
        return [cotangent.detached - exp(saved_for_backward(result)) * summed]

    return with_pullback(result, [x], pull)


def log_sum_exp(x: Rounded, axis: int, *, keepdims: bool = False) -> Rounded:
    """max + log Σe^(x − max); its gradient is the softmax.

    Args:
        keepdims: keep the axis with length 1.
    """
    exponentials, _, shift = _shifted_exponentials(x, axis)
    summed = total(stored_if_declared(exponentials, "exponentials"), axis, keepdims=True)
    log_of_sum = stored_if_declared(log(stored_if_declared(summed, "log_sum")), "log_sum")
    log_sum = Rounded(shift, np.zeros(shift.shape), x.precision) + log_of_sum
    largest = x.value.max(axis=axis, keepdims=True, initial=-np.inf)
    infinite = np.isinf(largest) & (x.error == 0).all(axis=axis, keepdims=True)
    value = np.where(infinite, largest, log_sum.value)
    log_sum = Rounded(value, np.where(infinite, 0.0, log_sum.error), x.precision)
    result = log_sum if keepdims else log_sum.map(lambda array: np.squeeze(array, axis))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        spread = move_cotangent(
            cotangent, lambda array: array if keepdims else np.expand_dims(array, axis)
        )
        return [spread * exp(x.detached - saved_for_backward(log_sum))]

    return with_pullback(result, [x], pull)


def _shifted_exponentials(x: Rounded, axis: int) -> tuple[Rounded, Rounded, np.ndarray]:
    """e^(x − max), x − max, and the maximum, 0 where it is not finite."""
    largest = np.asarray(x.value.max(axis=axis, keepdims=True, initial=-np.inf))
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(invalid="ignore"):
        shifted = x.detached - Rounded(shift, np.zeros(shift.shape), x.precision)
        # x − max may overflow, but is certainly far below 0.
        negligible = shifted.value + x.error <= _NEGLIGIBLE_EXPONENT
        negligible |= np.isneginf(x.value) & (x.error == 0)
        value = np.where(negligible, _NEGLIGIBLE_EXPONENT, shifted.value)
    error = np.where(negligible, 0.0, shifted.error)
    return exp(Rounded(value, error, x.precision)), shifted, shift


def _propagate_nan(result: Rounded, x: Rounded, axis: int) -> Rounded:
    """Set NaN in rows without a finite maximum.

    The NaN is exact where the whole row is exact, or where it certainly contains NaN or ∞.
    """
    largest = x.value.max(axis=axis, keepdims=True, initial=-np.inf)
    undefined = ~np.isfinite(largest)
    if not any_true(undefined):
        return result
    known = x.error == 0
    exact = known.all(axis=axis, keepdims=True)
    exact |= (known & (np.isnan(x.value) | np.isposinf(x.value))).any(axis=axis, keepdims=True)
    value = np.where(undefined, np.nan, result.value)
    return Rounded(
        value, np.where(undefined, np.where(exact, 0.0, np.inf), result.error), x.precision
    )


def _normalise_axes(x: Rounded, axes: Axes) -> tuple[int, ...]:
    rank = len(x.shape)
    if axes is None:
        return tuple(range(rank))
    axis_tuple = (axes,) if isinstance(axes, int) else axes
    return tuple(axis + rank if axis < 0 else axis for axis in axis_tuple)


def _drop_axes(array: np.ndarray, reduced_axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """Remove the reduced axes, which have length 1, unless `keepdims`."""
    return array if keepdims else np.squeeze(array, axis=reduced_axes)


def _broadcast_back(
    array: np.ndarray, x: Rounded, reduced_axes: tuple[int, ...], keepdims: bool
) -> np.ndarray:
    """Broadcast a value of each sum to all terms of the sum."""
    expanded = array if keepdims else np.expand_dims(array, reduced_axes)
    return np.array(np.broadcast_to(expanded, x.shape))
