"""tanh, σ, relu and a GRU's blend of two states, in arithmetic that carries its own error bound.

The error of an operand goes through an activation by the largest derivative that it has between
value − error and value + error. What the activation itself may err is `Numerics`; it is exact at 0
and where it has reached a limit (`saturation`).
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
    # NumPy's is within a unit in the last place.
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
        # By the operand: (1/cosh)², to which an error of eˣ as large as tanh's own comes 2·|tanh|
        # times; cosh and quotient round, which the square doubles, and the square. 1/(cosh²) and
        # 4e/(1 + e)² of e = e⁻²ˣ are no worse.
        t, slope = kept(result), _sech2(x.size)
        relative = 2 * own * t.size + 5 * precision.unit
        moved: np.ndarray | float = 0.0
        if x.doubtful:
            steepest = _sech2(_nearest(x))
            moved = steepest * x.error  # tanh; its square moves by:
            moved = np.minimum((2.0 * t.size + moved) * moved, steepest)
        return [cotangent * _either(x, slope, _one_minus(t * t), moved, relative)]

    return traced(result, [x], pull)


def sigmoid(x: Rounded) -> Rounded:
    """Logistic function 1/(1 + e⁻ˣ); its derivative σ(1 − σ) is largest nearest to 0."""
    decay = np.exp(-x.size)
    return _sigmoid(x, np.where(x.value < 0, decay, 1.0) / (1.0 + decay))


def sigmoid_and_rest(x: Rounded) -> tuple[Rounded, np.ndarray]:
    """σ(x) and 1 − σ(x), the latter as σ(−x), which has all its digits where σ is next to 1."""
    decay = np.exp(-x.size)
    whole, negative = 1.0 + decay, x.value < 0
    larger, smaller = 1.0 / whole, decay / whole
    return _sigmoid(x, np.where(negative, smaller, larger)), np.where(negative, larger, smaller)


def _sigmoid(x: Rounded, value: np.ndarray) -> Rounded:
    precision = x.precision
    # The value's own: an exponential within a unit in the last place, a sum and a quotient.
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
        # By the operand: e/(1 + e)², to which the error of e = e⁻|ˣ| comes |1 − 2σ| times: it is
        # σ's own but for a sum and a quotient; sum (twice), square and quotient round.
        s, slope = kept(result), _logistic_slope(x.size)
        relative = own + 2 * precision.unit
        moved: np.ndarray | float = 0.0
        if x.doubtful:
            steepest = _logistic_slope(_nearest(x))
            moved = np.minimum(steepest * x.error, steepest)  # σ(1 − σ) moves less than σ
        return [cotangent * _either(x, slope, _one_minus(s) * s, moved, relative)]

    return traced(result, [x], pull)


def _nearest(x: Rounded) -> np.ndarray:
    """How near to 0 the operand may be."""
    return np.asarray(np.maximum(x.size - x.error, 0.0))


def _sech2(size: np.ndarray) -> np.ndarray:
    """1 − tanh² of numbers ≥ 0: all digits, where the difference would have none."""
    decay = np.exp(-2.0 * size)
    return np.asarray(4.0 * decay / (1.0 + decay) ** 2)


def _logistic_slope(size: np.ndarray) -> np.ndarray:
    """σ(1 − σ) of numbers ≥ 0, likewise."""
    decay = np.exp(-size)
    return np.asarray(decay / (1.0 + decay) ** 2)


def _either(
    x: Rounded,
    slope: np.ndarray,
    by_result: Rounded,
    moved: np.ndarray | float,
    relative: np.ndarray | float,
) -> Rounded:
    """A derivative, computed from its function's result or from the operand: both are usual.

    1 − tanh² errs by a few units of 1, however small it is, and is 0 where tanh is at its limit;
    1/cosh² (MLX has it) keeps its digits and is not 0 there yet.

    Args:
        slope: the true derivative at its value.
        moved: how far the true one is elsewhere within the operand's error.
        relative: error of the one computed from the operand.
    """
    precision = x.precision
    reach = slope + moved
    # Where e⁻²ˣ or its kin underflows, the fourfold of it errs by no more than all of it.
    by_operand = moved + relative * reach + np.minimum(8.0 * precision.underflow, slope)
    error = np.maximum(by_result.error, by_operand)
    # The value's own: exponential (2), sum and square (3) and quotient.
    error += 6 * OWN * slope
    certain = by_result.error == 0
    if some(certain):  # at its limit the result gives 0; at 0 every form is exact
        widest = reach + by_operand
        # What the format has no number for is 0 there, and no product of it can underflow.
        lost = certain & (widest < precision.underflow / 2)
        limit = _surviving(np.where(lost, widest, np.maximum(slope, by_operand)))
        error = np.where(certain, np.where(x.value == 0, 0.0, limit), error)
        slope = np.where(lost, 0.0, slope)
    return Rounded(slope, error, precision)


def _surviving(error: np.ndarray) -> np.ndarray:
    """An error that is not 0, large enough not to become 0 where it is multiplied."""
    return np.where(error == 0, 0.0, np.maximum(error, FORMATS["float64"].normal))


def _one_minus(x: Rounded) -> Rounded:
    one = Rounded(np.ones(x.shape), np.zeros(x.shape), x.precision)
    return one + Rounded(-x.value, x.error, x.precision)


def _reaches(x: Rounded, threshold: float) -> np.ndarray:
    """Where the operand, in doubt as it may be, is certainly further from 0 than a threshold."""
    size = np.copysign(1.0, threshold) * x.value - x.error
    return np.asarray((size >= abs(threshold)) & x.precision.saturates)


def _activated(
    x: Rounded, value: np.ndarray, error: np.ndarray, ends: Sequence[tuple[float, float]]
) -> Rounded:
    """An activation is exact at 0 and where it has reached a limit.

    It is anything at all where its operand may be NaN or infinite.

    Args:
        value, error: of the result elsewhere; the latter may be written over.
        ends: beyond which operand which limit is reached.
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
        # On which side of 0 an uncertain operand lies is unknown; at 0 the slope is 0.
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
        z, n, h: the update gate, the new state and the old one.
        rest: 1 − z where it is known better than by subtraction.
    """
    plain = 1.0 - z.value
    rest = plain if rest is None else rest
    value = rest * n.value + z.value * h.value
    between = np.abs(h.value - n.value) + h.error + n.error
    propagated = z.error * between + rest * n.error + z.size * h.error
    steps = z.reach * (n.reach + h.size + h.error) + (rest + z.error) * n.reach
    # Twice the own unit: z and the rest err apart, by what exponential, sum and quotient round.
    unit = z.precision.unit + 2 * OWN
    rounding = unit * (2 * steps + np.abs(value) + propagated) + 3 * z.precision.underflow
    error = propagated + rounding
    if not (z.vague or n.vague or h.vague):
        exact = _blends_exactly(z, n, h)
        if some(exact):  # a gate at its limit counts as 1 and leaves no rest (`saturation`)
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
    """c·(h − n), or c·h − c·n, which rounds the products, however near to each other they are."""
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
    """1 − z as a factor c·(1 − z), or c − c·z, which rounds a product as large as z.

    Where z is at its limit, 1 − z is 0, and σ of the opposite operand is not.
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
    # n alone, or h alone: nothing is there to round.
    asked = exact & ~((z.value == 0) | ((z.value == 1) & (n.value == 0)))
    if some(asked):
        a, b, c = z.value[asked], n.value[asked], h.value[asked]
        rest, between = 1.0 - a, c - b
        products = np.array([rest, a, a]), np.array([b, c, between])
        from_rest, from_h, step = product_is_exact(*products, z.precision)
        terms = products[0] * products[1]
        sums = np.array([np.ones_like(a), terms[0], c, b]), np.array([-a, terms[1], -b, terms[2]])
        complement, weighted, difference, stepped = sum_is_exact(*sums, z.precision)
        # What is in doubt is exact again where it is multiplied by 0.
        weighted &= ((b == 0) | complement) & from_rest & from_h
        exact[asked] = weighted & ((a == 0) | difference) & step & stepped
    return exact
