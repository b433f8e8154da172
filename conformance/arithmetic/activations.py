"""tanh, σ, relu and a GRU's blend of two states, in arithmetic that carries its own error bound.

An operand's error passes through an activation multiplied by the largest derivative between
value − error and value + error. `Numerics` declares the activation's own error. The activation is
exact at 0 and where it has reached a limit (`saturation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.exactness import product_is_exact, some, sum_is_exact
from conformance.arithmetic.half_precision import kept
from conformance.arithmetic.rounded import OWN, Rounded, traced
from conformance.arithmetic.saturation import SIGMOID_ONE, SIGMOID_ZERO, TANH_ONE
from conformance.model.formats import FORMATS


def tanh(x: Rounded) -> Rounded:
    """Hyperbolic tangent; its derivative 1/cosh² is largest at the point nearest to 0."""
    precision = x.precision
    # NumPy's tanh is within a unit in the last place.
    value, own = np.tanh(x.value), 2 * precision.ulp("tanh") * precision.unit + 2 * OWN
    least = precision.absolute("tanh") + precision.underflow
    if x.doubtful:
        propagated = np.minimum(_sech2(_nearest(x)) * x.error, 2.0)
        error = propagated + (own * (np.abs(value) + propagated) + least)
    else:
        error = own * np.abs(value) + least
    ends = ((TANH_ONE, 1.0), (-TANH_ONE, -1.0))
    result = _activated(x, value, error, ends)
    if x.node is None:
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # Computed from the operand, the slope is (1/cosh)². An error of eˣ as large as tanh's own
        # counts 2·|tanh| times. Cosh and quotient round, which the square doubles, and the square
        # rounds. 1/(cosh²) and 4e/(1 + e)² with e = e⁻²ˣ are no worse.
        t, slope = kept(result), _sech2(x.size)
        relative = 2 * own * t.size + 5 * precision.unit
        moved: np.ndarray | float = 0.0
        if x.doubtful:
            steepest = _sech2(_nearest(x))
            moved = steepest * x.error  # the change of tanh; that of its square follows
            moved = np.minimum((2.0 * t.size + moved) * moved, steepest)
        return [cotangent * _either(x, slope, _one_minus(t * t), moved, relative)]

    return traced(result, [x], pull)


def sigmoid(x: Rounded) -> Rounded:
    """Logistic function 1/(1 + e⁻ˣ); its derivative σ(1 − σ) is largest nearest to 0."""
    decay = np.exp(-x.size)
    return _sigmoid(x, np.where(x.value < 0, decay, 1.0) / (1.0 + decay))


def sigmoid_and_rest(x: Rounded) -> tuple[Rounded, np.ndarray]:
    """σ(x) and 1 − σ(x). The latter is σ(−x), which keeps all its digits where σ is close to 1."""
    decay = np.exp(-x.size)
    whole, negative = 1.0 + decay, x.value < 0
    larger, smaller = 1.0 / whole, decay / whole
    return _sigmoid(x, np.where(negative, smaller, larger)), np.where(negative, larger, smaller)


def _sigmoid(x: Rounded, value: np.ndarray) -> Rounded:
    precision = x.precision
    # The value's own error: an exponential within a unit in the last place, a sum and a quotient.
    own = 2 * precision.ulp("sigmoid") * precision.unit + 4 * OWN
    # Vector code scales by 2^k, k the integer nearest to x/ln 2, and returns 0 where 2^k would not
    # be a normal number: for results up to √2 times the smallest one.
    least = math.sqrt(2.0) * precision.normal + precision.absolute("sigmoid")
    if x.doubtful:
        propagated = np.minimum(_logistic_slope(_nearest(x)) * x.error, 1.0)
        error = own * (value + propagated) + least + propagated
    else:
        error = own * value + least
    ends = ((SIGMOID_ONE, 1.0), (SIGMOID_ZERO, 0.0))
    result = _activated(x, value, error, ends)
    if x.node is None:
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # Computed from the operand, the slope is e/(1 + e)². The error of e = e⁻|ˣ| counts |1 − 2σ|
        # times: it is σ's own without a sum and a quotient. Sum (twice), square and quotient round.
        s, slope = kept(result), _logistic_slope(x.size)
        relative = own + 2 * precision.unit
        moved: np.ndarray | float = 0.0
        if x.doubtful:
            steepest = _logistic_slope(_nearest(x))
            moved = np.minimum(steepest * x.error, steepest)  # σ(1 − σ) moves less than σ
        return [cotangent * _either(x, slope, _one_minus(s) * s, moved, relative)]

    return traced(result, [x], pull)


def _nearest(x: Rounded) -> np.ndarray:
    """Smallest |x| that the operand's error allows."""
    return np.asarray(np.maximum(x.size - x.error, 0.0))


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
    moved: np.ndarray | float,
    relative: np.ndarray | float,
) -> Rounded:
    """A derivative with a bound that covers both usual forms: from the result and from the operand.

    1 − tanh² errs by a few units of 1, however small it is, and is 0 where tanh has reached its
    limit. 1/cosh² (as in MLX) keeps its digits and is not yet 0 there.

    Args:
        slope: the true derivative at the operand's value.
        moved: largest change of the true derivative within the operand's error.
        relative: relative error of the form computed from the operand.
    """
    precision = x.precision
    reach = slope + moved
    # Where e⁻²ˣ or a similar term underflows, four times it errs by at most its whole value.
    by_operand = moved + relative * reach + np.minimum(8.0 * precision.underflow, slope)
    error = np.maximum(by_result.error, by_operand)
    # The value's own error: exponential (2), sum and square (3) and quotient.
    error += 6 * OWN * slope
    certain = by_result.error == 0
    if some(certain):  # at its limit the result gives 0; at 0 every form is exact
        widest = reach + by_operand
        # A slope too small for the format is 0 there, so no product with it can underflow.
        lost = certain & (widest < precision.underflow / 2)
        limit = _surviving(np.where(lost, widest, np.maximum(slope, by_operand)))
        error = np.where(certain, np.where(x.value == 0, 0.0, limit), error)
        slope = np.where(lost, 0.0, slope)
    return Rounded(slope, error, precision)


def _surviving(error: np.ndarray) -> np.ndarray:
    """Raise an error that is not 0, so that a later product cannot turn it into 0."""
    return np.where(error == 0, 0.0, np.maximum(error, FORMATS["float64"].normal))


def _one_minus(x: Rounded) -> Rounded:
    one = Rounded(np.ones(x.shape), np.zeros(x.shape), x.precision)
    return one + Rounded(-x.value, x.error, x.precision)


def _reaches(x: Rounded, threshold: float) -> np.ndarray:
    """Where the operand is beyond a threshold, away from 0, for every value its error allows."""
    size = np.copysign(1.0, threshold) * x.value - x.error
    return np.asarray((size >= abs(threshold)) & x.precision.saturates)


def _activated(
    x: Rounded, value: np.ndarray, error: np.ndarray, ends: Sequence[tuple[float, float]]
) -> Rounded:
    """Set the error to 0 where the activation is exact: at 0 and where it has reached a limit.

    The error is ∞ where the operand may be NaN or infinite.

    Args:
        value, error: the result elsewhere; the function may overwrite `error`.
        ends: (operand, limit) pairs; beyond that operand the activation equals the limit.
    """
    # NumPy makes scalars of results without dimensions.
    error = np.asarray(error)
    if not x.vague:
        np.copyto(error, 0.0, where=(x.value == 0) & (x.error == 0))
    largest = x.size.max(initial=0.0)
    for threshold, limit in ends:
        if not largest < abs(threshold):
            reached = _reaches(x, threshold)
            value = np.where(reached, limit, value)
            error = np.asarray(np.where(reached, 0.0, error))
    if x.doubtful and not x.error.max() < np.inf:
        np.copyto(error, np.inf, where=~np.isfinite(x.error))
    return Rounded(value, error, x.precision)


def relu(x: Rounded) -> Rounded:
    """max(x, 0): exact, and never steeper than 1."""
    error = np.where(x.value + x.error <= 0, 0.0, x.error)
    result = Rounded(np.maximum(x.value, 0.0), error, x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # The sign of an uncertain operand is unknown; at 0 the slope is 0.
        doubtful = np.logical_not(np.abs(x.value) > x.error) & (x.error != 0)
        on = x.value > 0
        error = np.where(on, cotangent.error, 0.0)
        error = np.where(doubtful, np.abs(cotangent.value) + cotangent.error, error)
        return [Rounded(np.where(on, cotangent.value, 0.0), error, x.precision)]

    return traced(result, [x], pull)


def blend(z: Rounded, n: Rounded, h: Rounded, rest: np.ndarray | None = None) -> Rounded:
    """(1 − z)·n + z·h as one operation: z's error acts through h − n only.

    The rounding term covers both usual forms, (1 − z)·n + z·h and n + z·(h − n).

    Args:
        z, n, h: the update gate, the new state and the old state.
        rest: 1 − z, where the caller knows it more accurately than by subtraction.
    """
    plain = 1.0 - z.value
    rest = plain if rest is None else rest
    value = rest * n.value + z.value * h.value
    between = np.abs(h.value - n.value) + h.error + n.error
    propagated = z.error * between + rest * n.error + z.size * h.error
    steps = z.reach * (n.reach + h.size + h.error) + (rest + z.error) * n.reach
    # Twice the oracle's unit: z and 1 − z err independently by exponential, sum and quotient.
    unit = z.precision.unit + 2 * OWN
    rounding = unit * (2 * steps + np.abs(value) + propagated) + 3 * z.precision.underflow
    error = propagated + rounding
    if not (z.vague or n.vague or h.vague):
        exact = _blends_exactly(z, n, h)
        if some(exact):  # a gate at its limit is 1, so that 1 − z is 0 (`saturation`)
            np.copyto(error, 0.0, where=exact)
            value = np.where(exact, plain * n.value + z.value * h.value, value)
    if z.node is None and n.node is None and h.node is None:
        return Rounded(value, error, z.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [
            _weighed(cotangent, n.bare, h.bare),
            cotangent * _rest(z.bare, rest),
            cotangent * z.bare,
        ]

    return traced(Rounded(value, error, z.precision), [z, n, h], pull)


def _weighed(cotangent: Rounded, n: Rounded, h: Rounded) -> Rounded:
    """c·(h − n), with a bound for c·h − c·n too, which rounds both products before they cancel."""
    minus_n = Rounded(-n.value, n.error, n.precision)
    together, parts = cotangent * (h + minus_n), (cotangent * h, cotangent * minus_n)
    own, precision = n.error + h.error, n.precision
    inherited = cotangent.reach * own + cotangent.error * np.abs(h.value - n.value)
    products = sum(np.where(part.error == 0, 0.0, part.reach) for part in parts)
    unit = precision.unit + OWN
    apart = inherited + unit * (products + together.size + inherited) + 3 * precision.underflow
    # Equal products are rounded alike.
    alike = (products == 0) | ((own == 0) & (h.value == n.value))
    error = np.where(alike, together.error, np.maximum(together.error, apart))
    return together.with_error(error)


def _rest(z: Rounded, rest: np.ndarray) -> Rounded:
    """1 − z as a factor of c, with a bound for c·(1 − z) and for c − c·z, which rounds c·z.

    Where z has reached its limit, 1 − z is 0, and σ of the opposite operand is not.
    """
    by_result, precision = _one_minus(z), z.precision
    error = by_result.error + precision.unit * z.reach + 5 * OWN * rest
    certain = by_result.error == 0
    if some(certain):
        error = np.where(certain, np.where(z.value == 1, _surviving(rest), 0.0), error)
        rest = np.where(certain & (rest < precision.underflow / 2), 0.0, rest)
    return Rounded(rest, error, precision)


def _blends_exactly(z: Rounded, n: Rounded, h: Rounded) -> np.ndarray:
    """Where neither (1 − z)·n + z·h nor n + z·(h − n) rounds anywhere."""
    exact = np.asarray((z.error == 0) & (n.error == 0) & (h.error == 0))
    if not some(exact):
        return exact
    # Where the result is n alone or h alone, nothing rounds.
    asked = exact & ~((z.value == 0) | ((z.value == 1) & (n.value == 0)))
    if some(asked):
        a, b, c = z.value[asked], n.value[asked], h.value[asked]
        rest, between = 1.0 - a, c - b
        products = np.array([rest, a, a]), np.array([b, c, between])
        from_rest, from_h, step = product_is_exact(*products, z.precision)
        terms = products[0] * products[1]
        sums = np.array([np.ones_like(a), terms[0], c, b]), np.array([-a, terms[1], -b, terms[2]])
        complement, weighted, difference, stepped = sum_is_exact(*sums, z.precision)
        # An inexact factor does not matter where it is multiplied by 0.
        weighted &= ((b == 0) | complement) & from_rest & from_h
        exact[asked] = weighted & ((a == 0) | difference) & step & stepped
    return exact
