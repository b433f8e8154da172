"""Sums, means, variances, maxima and softmax along axes, in whatever order they are computed.

A sum of n terms errs by at most (n − 1)·u·Σ|terms| in any order (Jeannerod and Rump, 2013). It is
exact where all terms are multiples of one power of two and Σ|terms| fits the format.
"""

from __future__ import annotations

import math

import numpy as np

from conformance.arithmetic.elementary import constant, exp, log, square
from conformance.arithmetic.exactness import some
from conformance.arithmetic.half_precision import kept
from conformance.arithmetic.rounded import OWN, Rounded, moved_cotangent, multilinear, traced
from conformance.arithmetic.saturation import SIGMOID_ZERO

Axes = int | tuple[int, ...] | None

# e^x is 0 in every format at half of this, hence also for any rounding of x − max.
_FAR = 2.0 * SIGMOID_ZERO


def total(x: Rounded, axes: Axes = None, *, keepdims: bool = False) -> Rounded:
    """The sum in any order. The sum of one element is exactly that element, of none exactly 0.

    Args:
        axes: axes to sum over; None = all.
        keepdims: keep the summed axes with length 1.
    """
    along = _along(x, axes)
    count = math.prod(x.shape[axis] for axis in along)

    def added(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.sum(axis=along, keepdims=keepdims))

    if count == 1:
        return x.map(lambda array: _only(array, along, keepdims))
    if not count:
        return Rounded(added(x.value), added(x.error), x.precision)

    def grain(y: Rounded) -> np.ndarray:
        return np.asarray(y.quanta.min(axis=along, keepdims=keepdims))

    # A plain sum rounds once less than it has terms; in a sum of products each product rounds too.
    summed = multilinear(added, x.bare, terms=count - 1, grain=grain)
    result = Rounded(
        summed.value, summed.error, x.precision, summed.magnitude, summed.grain, summed.terms + 1
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [moved_cotangent(cotangent, lambda array: _spread(array, x, along, keepdims))]

    return traced(result, [x], pull)


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
    along = _along(x, axes)
    count = math.prod(x.shape[axis] for axis in along)
    result = over(total(x, along, keepdims=keepdims), count)
    if running and count > 2:
        size = (np.abs(x.value) + x.error).sum(axis=along, keepdims=keepdims) / count
        steps = 2 * (2 + math.log(count)) * (x.precision.unit + OWN) * size
        steps = steps + count * x.precision.underflow  # of a quotient at each step
        result = result.with_error(result.error + steps)
    return result


def over(x: Rounded, count: float) -> Rounded:
    """x/count, with a bound that also covers multiplying by the rounded reciprocal.

    Args:
        count: the divisor; with a power of two both forms are exact.
    """
    quotient = x.bare / constant(float(count), x)
    if count > 0 and math.frexp(count)[0] != 0.5:
        more = (x.precision.unit + OWN) * quotient.reach
        quotient = quotient.with_error(quotient.error + np.where(quotient.error > 0, more, 0.0))
    return traced(quotient, [x], lambda cotangent: [over(cotangent, count)])


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
    along = _along(x, axes)
    count = math.prod(x.shape[axis] for axis in along)
    deviation = x - mean(x, along, keepdims=True, running=running)
    summed = total(square(deviation), along, keepdims=keepdims)
    return over(summed, max(count - correction, 0.0))


def maximum(x: Rounded, axis: Axes, *, keepdims: bool = False) -> Rounded:
    """The largest element, copied without rounding; NaN where any element is NaN.

    Where several elements are or may be the largest, the gradient may go to any of them or be
    shared: each gets anything from 0 to all of it.

    Args:
        x: at least one element along the axes.
        axis: axes to reduce; None = all.
        keepdims: keep the reduced axes with length 1.
    """
    along = _along(x, axis)
    value = np.asarray(x.value.max(axis=along, keepdims=True))
    with np.errstate(invalid="ignore"):
        upper = (x.value + x.error).max(axis=along, keepdims=True)
        lower = np.asarray((x.value - x.error).max(axis=along, keepdims=True))
        error = np.maximum(upper - value, value - lower)
    exact = x.error.max(axis=along, keepdims=True) == 0  # of infinite numbers, too
    exact |= (np.isnan(x.value) & (x.error == 0)).any(axis=along, keepdims=True)
    error = np.where(exact, 0.0, np.where(np.isnan(error), np.inf, error))
    shape = value.shape if keepdims else _only(value, along, False).shape
    result = Rounded(value.reshape(shape), error.reshape(shape), x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        candidate = (x.value + x.error >= lower) | np.isnan(x.value)
        alone = candidate.sum(axis=along, keepdims=True) == 1
        c, e = (_spread(array, x, along, keepdims) for array in (cotangent.value, cotangent.error))
        value = np.where(candidate, np.where(alone, c, 0.5 * c), 0.0)
        error = np.where(alone, e, 0.5 * np.abs(c) + e)
        return [Rounded(value, np.where(candidate, error, 0.0), x.precision)]

    return traced(result, [x], pull)


def as_read(x: Rounded) -> Rounded:
    """The operand, in doubt where the backend may read a subnormal number as zero."""
    read = x.flushed if x.precision.flushes else x
    return x if read is x else traced(read, [x], lambda cotangent: [cotangent])


def softmax(x: Rounded, axis: int) -> Rounded:
    """e^(x − max)/Σe^(x − max), or times the reciprocal of the sum, which rounds once more.

    An error of the maximum changes all exponents equally and cancels, so the maximum counts as
    exact. −∞ gives 0; a row of only −∞, or with ∞ or NaN, is NaN.

    Args:
        axis: the axis along which the results sum to 1.
    """
    raised, _, _ = _raised(x, axis)
    quotient = raised / total(raised, axis, keepdims=True)
    more = (x.precision.unit + OWN) * quotient.reach + x.precision.underflow
    error = quotient.error + np.where(quotient.error > 0, more, 0.0)
    result = _settled(Rounded(quotient.value, error, x.precision), x, axis)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # p·(c − Σ c p), or c p − p·Σ c p, which rounds the products.
        p = kept(result)
        weighted = cotangent * p
        inner = total(weighted, axis, keepdims=True)
        centred, apart = p * (cotangent.bare - inner), weighted - p * inner
        return [centred.with_error(np.maximum(centred.error, apart.error))]

    return traced(result, [x], pull)


def log_softmax(x: Rounded, axis: int) -> Rounded:
    """(x − max) − log Σe^(x − max), or x − (max + log Σ), which rounds max + log Σ.

    Args:
        axis: the axis along which the exponentials of the results sum to 1.
    """
    raised, shifted, shift = _raised(x, axis)
    rest = log(total(raised, axis, keepdims=True))
    plain = shifted - rest
    with np.errstate(invalid="ignore"):
        apart = x.bare - (Rounded(shift, np.zeros(shift.shape), x.precision) + rest)
    error = np.maximum(plain.error, apart.error)
    lowest = np.isneginf(x.value) & (x.error == 0) & np.isfinite(rest.error)
    result = _settled(Rounded(plain.value, np.where(lowest, 0.0, error), x.precision), x, axis)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        summed = total(cotangent, axis, keepdims=True)
        return [cotangent.bare - exp(kept(result)) * summed]

    return traced(result, [x], pull)


def log_sum_exp(x: Rounded, axis: int, *, keepdims: bool = False) -> Rounded:
    """max + log Σe^(x − max); its gradient is the softmax.

    Args:
        keepdims: keep the axis with length 1.
    """
    raised, _, shift = _raised(x, axis)
    whole = Rounded(shift, np.zeros(shift.shape), x.precision) + log(
        total(raised, axis, keepdims=True)
    )
    largest = x.value.max(axis=axis, keepdims=True, initial=-np.inf)
    endless = np.isinf(largest) & (x.error == 0).all(axis=axis, keepdims=True)
    value = np.where(endless, largest, whole.value)
    whole = Rounded(value, np.where(endless, 0.0, whole.error), x.precision)
    result = whole if keepdims else whole.map(lambda array: np.squeeze(array, axis))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        spread = moved_cotangent(
            cotangent, lambda array: array if keepdims else np.expand_dims(array, axis)
        )
        return [spread * exp(x.bare - kept(whole))]

    return traced(result, [x], pull)


def _raised(x: Rounded, axis: int) -> tuple[Rounded, Rounded, np.ndarray]:
    """e^(x − max), x − max, and the maximum, 0 where it is not finite."""
    largest = np.asarray(x.value.max(axis=axis, keepdims=True, initial=-np.inf))
    shift = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(invalid="ignore"):
        shifted = x.bare - Rounded(shift, np.zeros(shift.shape), x.precision)
        # x − max may overflow, but is certainly far below 0.
        gone = shifted.value + x.error <= _FAR
        gone |= np.isneginf(x.value) & (x.error == 0)
        value = np.where(gone, _FAR, shifted.value)
    error = np.where(gone, 0.0, shifted.error)
    return exp(Rounded(value, error, x.precision)), shifted, shift


def _settled(result: Rounded, x: Rounded, axis: int) -> Rounded:
    """Set NaN in rows without a finite maximum.

    The NaN is exact where the whole row is exact, or where it certainly contains NaN or ∞.
    """
    largest = x.value.max(axis=axis, keepdims=True, initial=-np.inf)
    lost = ~np.isfinite(largest)
    if not some(lost):
        return result
    known = x.error == 0
    exact = known.all(axis=axis, keepdims=True)
    exact |= (known & (np.isnan(x.value) | np.isposinf(x.value))).any(axis=axis, keepdims=True)
    value = np.where(lost, np.nan, result.value)
    return Rounded(value, np.where(lost, np.where(exact, 0.0, np.inf), result.error), x.precision)


def _along(x: Rounded, axes: Axes) -> tuple[int, ...]:
    rank = len(x.shape)
    if axes is None:
        return tuple(range(rank))
    several = (axes,) if isinstance(axes, int) else axes
    return tuple(axis + rank if axis < 0 else axis for axis in several)


def _only(array: np.ndarray, along: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """Remove the reduced axes, which have length 1, unless `keepdims`."""
    return array if keepdims else np.squeeze(array, axis=along)


def _spread(array: np.ndarray, x: Rounded, along: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """Broadcast a value of each sum to all terms of the sum."""
    whole = array if keepdims else np.expand_dims(array, along)
    return np.array(np.broadcast_to(whole, x.shape))
