"""tanh, σ, relu and a GRU's blend of two states, in arithmetic that carries its own error bound.

An operand's error passes through an activation multiplied by the largest derivative between
value − error and value + error. `Numerics` declares the activation's own error. The activation is
exact at 0 and where it has reached a limit (`saturation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.exactness import any_true, product_is_exact, sum_is_exact
from conformance.arithmetic.half_precision import saved_for_backward
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, with_pullback
from conformance.arithmetic.saturation import SIGMOID_ONE, SIGMOID_ZERO, TANH_ONE
from conformance.model.formats import FORMATS


def tanh(x: Rounded) -> Rounded:
    """Hyperbolic tangent; its derivative 1/cosh² is largest at the point nearest to 0."""
    precision = x.precision
    # NumPy's tanh is within a unit in the last place.
    value, function_error = (
        np.tanh(x.value),
        2 * precision.ulp("tanh") * precision.unit + 2 * ORACLE_UNIT,
    )
    absolute_error = precision.absolute_error("tanh") + precision.underflow
    if x.any_inexact:
        propagated = np.minimum(_sech2(_smallest_magnitude(x)) * x.error, 2.0)
        error = propagated + (function_error * (np.abs(value) + propagated) + absolute_error)
    else:
        error = function_error * np.abs(value) + absolute_error
    limits = ((TANH_ONE, 1.0), (-TANH_ONE, -1.0))
    result = _saturate(x, value, error, limits)
    if x.node is None:
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # Computed from the operand, the slope is (1/cosh)². An error of eˣ as large as tanh's own
        # counts 2·|tanh| times. Cosh and quotient round, which the square doubles, and the square
        # rounds. 1/(cosh²) and 4e/(1 + e)² with e = e⁻²ˣ are no worse.
        t, slope = saved_for_backward(result), _sech2(x.abs_value)
        relative = 2 * function_error * t.abs_value + 5 * precision.unit
        slope_change: np.ndarray | float = 0.0
        if x.any_inexact:
            steepest = _sech2(_smallest_magnitude(x))
            slope_change = steepest * x.error  # the change of tanh; that of its square follows
            slope_change = np.minimum((2.0 * t.abs_value + slope_change) * slope_change, steepest)
        return [cotangent * _either(x, slope, _one_minus(t * t), slope_change, relative)]

    return with_pullback(result, [x], pull)


def sigmoid(x: Rounded) -> Rounded:
    """Logistic function 1/(1 + e⁻ˣ); its derivative σ(1 − σ) is largest nearest to 0."""
    decay = np.exp(-x.abs_value)
    return _sigmoid(x, np.where(x.value < 0, decay, 1.0) / (1.0 + decay))


def sigmoid_and_complement(x: Rounded) -> tuple[Rounded, np.ndarray]:
    """σ(x) and 1 − σ(x). The latter is σ(−x), which keeps all its digits where σ is close to 1."""
    decay = np.exp(-x.abs_value)
    denominator, negative = 1.0 + decay, x.value < 0
    larger, smaller = 1.0 / denominator, decay / denominator
    return _sigmoid(x, np.where(negative, smaller, larger)), np.where(negative, larger, smaller)


def _sigmoid(x: Rounded, value: np.ndarray) -> Rounded:
    precision = x.precision
    # The value's own error: an exponential within a unit in the last place, a sum and a quotient.
    function_error = 2 * precision.ulp("sigmoid") * precision.unit + 4 * ORACLE_UNIT
    # Vector code scales by 2^k, k the integer nearest to x/ln 2, and returns 0 where 2^k would not
    # be a normal number: for results up to √2 times the smallest one.
    absolute_error = math.sqrt(2.0) * precision.normal + precision.absolute_error("sigmoid")
    if x.any_inexact:
        propagated = np.minimum(_logistic_slope(_smallest_magnitude(x)) * x.error, 1.0)
        error = function_error * (value + propagated) + absolute_error + propagated
    else:
        error = function_error * value + absolute_error
    limits = ((SIGMOID_ONE, 1.0), (SIGMOID_ZERO, 0.0))
    result = _saturate(x, value, error, limits)
    if x.node is None:
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # Computed from the operand, the slope is e/(1 + e)². The error of e = e⁻|ˣ| counts |1 − 2σ|
        # times: it is σ's own without a sum and a quotient. Sum (twice), square and quotient round.
        s, slope = saved_for_backward(result), _logistic_slope(x.abs_value)
        relative = function_error + 2 * precision.unit
        slope_change: np.ndarray | float = 0.0
        if x.any_inexact:
            steepest = _logistic_slope(_smallest_magnitude(x))
            slope_change = np.minimum(steepest * x.error, steepest)  # σ(1 − σ) moves less than σ
        return [cotangent * _either(x, slope, _one_minus(s) * s, slope_change, relative)]

    return with_pullback(result, [x], pull)


def _smallest_magnitude(x: Rounded) -> np.ndarray:
    """Smallest |x| that the operand's error allows."""
    return np.asarray(np.maximum(x.abs_value - x.error, 0.0))


def _sech2(size: np.ndarray) -> np.ndarray:
    """1 − tanh² of numbers ≥ 0, to all digits where the difference itself would lose them."""
    decay = np.exp(-2.0 * size)
    return np.asarray(4.0 * decay / (1.0 + decay) ** 2)


def _logistic_slope(size: np.ndarray) -> np.ndarray:
    """σ(1 − σ) of numbers ≥ 0, to all digits."""
    decay = np.exp(-size)
    return np.asarray(decay / (1.0 + decay) ** 2)


def _either(
    x: Rounded,
    slope: np.ndarray,
    by_result: Rounded,
    slope_change: np.ndarray | float,
    relative_error: np.ndarray | float,
) -> Rounded:
    """A derivative with a bound that covers both usual forms: from the result and from the operand.

    1 − tanh² errs by a few units of 1, however small it is, and is 0 where tanh has reached its
    limit. 1/cosh² (as in MLX) keeps its digits and is not yet 0 there.

    Args:
        slope: the true derivative at the operand's value.
        slope_change: largest change of the true derivative within the operand's error.
        relative_error: relative error of the form computed from the operand.
    """
    precision = x.precision
    largest_slope = slope + slope_change
    # Where e⁻²ˣ or a similar term underflows, four times it errs by at most its whole value.
    by_operand = (
        slope_change + relative_error * largest_slope + np.minimum(8.0 * precision.underflow, slope)
    )
    error = np.maximum(by_result.error, by_operand)
    # The value's own error: exponential (2), sum and square (3) and quotient.
    error += 6 * ORACLE_UNIT * slope
    certain = by_result.error == 0
    if any_true(certain):  # at its limit the result gives 0; at 0 every form is exact
        largest_possible = largest_slope + by_operand
        # A slope too small for the format is 0 there, so no product with it can underflow.
        vanishes = certain & (largest_possible < precision.underflow / 2)
        limit = _keep_nonzero(np.where(vanishes, largest_possible, np.maximum(slope, by_operand)))
        error = np.where(certain, np.where(x.value == 0, 0.0, limit), error)
        slope = np.where(vanishes, 0.0, slope)
    return Rounded(slope, error, precision)


def _keep_nonzero(error: np.ndarray) -> np.ndarray:
    """Raise an error that is not 0, so that a later product cannot turn it into 0."""
    return np.where(error == 0, 0.0, np.maximum(error, FORMATS["float64"].normal))


def _one_minus(x: Rounded) -> Rounded:
    one = Rounded(np.ones(x.shape), np.zeros(x.shape), x.precision)
    return one + Rounded(-x.value, x.error, x.precision)


def _is_beyond(x: Rounded, threshold: float) -> np.ndarray:
    """Where the operand is beyond a threshold, away from 0, for every value its error allows."""
    size = np.copysign(1.0, threshold) * x.value - x.error
    return np.asarray((size >= abs(threshold)) & x.precision.saturates)


def _saturate(
    x: Rounded, value: np.ndarray, error: np.ndarray, limits: Sequence[tuple[float, float]]
) -> Rounded:
    """Set the error to 0 where the activation is exact: at 0 and where it has reached a limit.

    The error is ∞ where the operand may be NaN or infinite.

    Args:
        value, error: the result elsewhere; the function may overwrite `error`.
        limits: (operand, limit) pairs; further from 0 the activation equals the limit.
    """
    # NumPy makes scalars of results without dimensions.
    error = np.asarray(error)
    if not x.all_inexact:
        np.copyto(error, 0.0, where=(x.value == 0) & (x.error == 0))
    largest = x.abs_value.max(initial=0.0)
    for threshold, limit in limits:
        if not largest < abs(threshold):
            reached = _is_beyond(x, threshold)
            value = np.where(reached, limit, value)
            error = np.asarray(np.where(reached, 0.0, error))
    if x.any_inexact and not x.error.max() < np.inf:
        np.copyto(error, np.inf, where=~np.isfinite(x.error))
    return Rounded(value, error, x.precision)


def relu(x: Rounded) -> Rounded:
    """max(x, 0): exact, and never steeper than 1."""
    error = np.where(x.value + x.error <= 0, 0.0, x.error)
    result = Rounded(np.maximum(x.value, 0.0), error, x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # The sign of an uncertain operand is unknown; at 0 the slope is 0.
        doubtful = np.logical_not(np.abs(x.value) > x.error) & (x.error != 0)
        positive = x.value > 0
        error = np.where(positive, cotangent.error, 0.0)
        error = np.where(doubtful, np.abs(cotangent.value) + cotangent.error, error)
        return [Rounded(np.where(positive, cotangent.value, 0.0), error, cotangent.precision)]

    return with_pullback(result, [x], pull)


def blend(z: Rounded, n: Rounded, h: Rounded, complement: np.ndarray | None = None) -> Rounded:
    """(1 − z)·n + z·h as one operation: z's error acts through h − n only.

    The rounding term covers both usual forms, (1 − z)·n + z·h and n + z·(h − n).

    Args:
        z, n, h: the update gate, the new state and the old state.
        complement: 1 − z, where the caller knows it more accurately than by subtraction.
    """
    subtracted = 1.0 - z.value
    complement = subtracted if complement is None else complement
    value = complement * n.value + z.value * h.value
    max_difference = np.abs(h.value - n.value) + h.error + n.error
    propagated = z.error * max_difference + complement * n.error + z.abs_value * h.error
    magnitudes = (
        z.abs_bound * (n.abs_bound + h.abs_value + h.error) + (complement + z.error) * n.abs_bound
    )
    # Twice the oracle's unit: z and 1 − z err independently by exponential, sum and quotient.
    unit = z.precision.unit + 2 * ORACLE_UNIT
    rounding = unit * (2 * magnitudes + np.abs(value) + propagated) + 3 * z.precision.underflow
    error = propagated + rounding
    if not (z.all_inexact or n.all_inexact or h.all_inexact):
        exact = _exact_blends(z, n, h)
        if any_true(exact):  # a gate at its limit is 1, so that 1 − z is 0 (`saturation`)
            np.copyto(error, 0.0, where=exact)
            value = np.where(exact, subtracted * n.value + z.value * h.value, value)
    if z.node is None and n.node is None and h.node is None:
        return Rounded(value, error, z.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [
            _gate_cotangent(cotangent, n.detached, h.detached),
            cotangent * _complement_factor(z.detached, complement),
            cotangent * z.detached,
        ]

    return with_pullback(Rounded(value, error, z.precision), [z, n, h], pull)


def _gate_cotangent(cotangent: Rounded, n: Rounded, h: Rounded) -> Rounded:
    """c·(h − n), with a bound for c·h − c·n too, which rounds both products before they cancel."""
    minus_n = Rounded(-n.value, n.error, n.precision)
    factored, expanded = cotangent * (h + minus_n), (cotangent * h, cotangent * minus_n)
    operand_error, precision = n.error + h.error, n.precision
    inherited = cotangent.abs_bound * operand_error + cotangent.error * np.abs(h.value - n.value)
    product_magnitudes = sum(np.where(part.error == 0, 0.0, part.abs_bound) for part in expanded)
    unit = precision.unit + ORACLE_UNIT
    expanded_error = (
        inherited
        + unit * (product_magnitudes + factored.abs_value + inherited)
        + 3 * precision.underflow
    )
    # Equal products are rounded alike.
    equal_products = (product_magnitudes == 0) | ((operand_error == 0) & (h.value == n.value))
    error = np.where(equal_products, factored.error, np.maximum(factored.error, expanded_error))
    return factored.with_error(error)


def _complement_factor(z: Rounded, complement: np.ndarray) -> Rounded:
    """1 − z as a factor of c, with a bound for c·(1 − z) and for c − c·z, which rounds c·z.

    Where z has reached its limit, 1 − z is 0, and σ of the opposite operand is not.
    """
    by_result, precision = _one_minus(z), z.precision
    error = by_result.error + precision.unit * z.abs_bound + 5 * ORACLE_UNIT * complement
    certain = by_result.error == 0
    if any_true(certain):
        error = np.where(certain, np.where(z.value == 1, _keep_nonzero(complement), 0.0), error)
        complement = np.where(certain & (complement < precision.underflow / 2), 0.0, complement)
    return Rounded(complement, error, precision)


def _exact_blends(z: Rounded, n: Rounded, h: Rounded) -> np.ndarray:
    """Where neither (1 − z)·n + z·h nor n + z·(h − n) rounds anywhere."""
    exact = np.asarray((z.error == 0) & (n.error == 0) & (h.error == 0))
    if not any_true(exact):
        return exact
    # Where the result is n alone or h alone, nothing rounds.
    nontrivial = exact & ~((z.value == 0) | ((z.value == 1) & (n.value == 0)))
    if any_true(nontrivial):
        a, b, c = z.value[nontrivial], n.value[nontrivial], h.value[nontrivial]
        one_minus_z, h_minus_n = 1.0 - a, c - b
        products = np.array([one_minus_z, a, a]), np.array([b, c, h_minus_n])
        from_complement, from_h, step = product_is_exact(*products, z.precision)
        terms = products[0] * products[1]
        sums = np.array([np.ones_like(a), terms[0], c, b]), np.array([-a, terms[1], -b, terms[2]])
        complement, weighted, difference, stepped = sum_is_exact(*sums, z.precision)
        # An inexact factor does not matter where it is multiplied by 0.
        weighted &= ((b == 0) | complement) & from_complement & from_h
        exact[nontrivial] = weighted & ((a == 0) | difference) & step & stepped
    return exact
