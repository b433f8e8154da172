"""tanh, σ, relu and a GRU's blend of two states, in arithmetic that carries its own error bound.

The error of an operand goes through an activation by the largest derivative that it has between
value − error and value + error. What the activation itself may err is `Numerics`; it is exact at 0
and where it has reached a limit (`saturation`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..formats import FORMATS
from .exactness import product_is_exact, some, sum_is_exact
from .rounding import OWN, Rounded, traced
from .saturation import SIGMOID_ONE, SIGMOID_ZERO, TANH_ONE


def tanh(x: Rounded) -> Rounded:
    """Hyperbolic tangent; its derivative 1/cosh² is largest at the point nearest to 0."""
    precision = x.precision
    value, own = np.tanh(x.value), 2 * precision.tanh_ulp * precision.unit
    least = precision.tanh_absolute + precision.underflow
    if x.doubtful:
        decay = np.exp(-2.0 * np.maximum(x.size - x.error, 0.0))
        propagated = np.minimum(4.0 * decay / (1.0 + decay) ** 2 * x.error, 2.0)
        error = propagated + (own * (np.abs(value) + propagated) + least)
    else:
        error = own * np.abs(value) + least
    ends = ((TANH_ONE, 1.0), (-TANH_ONE, -1.0))
    result = _activated(x, value, error, ends)
    if x.node is None:
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        t, limit = result.bare, 4.0 * np.exp(-2.0 * np.maximum(x.size - x.error, 0.0))
        return [cotangent * _or_slope(_one_minus(t * t), limit)]

    return traced(result, [x], pull)


def sigmoid(x: Rounded) -> Rounded:
    """Logistic function 1/(1 + e⁻ˣ); its derivative σ(1 − σ) is largest nearest to 0."""
    precision = x.precision
    value, own = 1.0 / (1.0 + np.exp(-x.value)), 2 * precision.sigmoid_ulp * precision.unit
    # Vector code scales by 2^k, k the integer nearest to x/ln 2, and returns 0 where 2^k would not
    # be a normal number: for results up to √2 times the smallest one.
    least = math.sqrt(2.0) * precision.normal + precision.sigmoid_absolute
    if x.doubtful:
        decay = np.exp(-np.maximum(x.size - x.error, 0.0))
        propagated = np.minimum(decay / (1.0 + decay) ** 2 * x.error, 1.0)
        error = own * (value + propagated) + least + propagated
    else:
        error = own * value + least
    ends = ((SIGMOID_ONE, 1.0), (SIGMOID_ZERO, 0.0))
    result = _activated(x, value, error, ends)
    if x.node is None:
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        s, limit = result.bare, np.exp(-np.maximum(x.size - x.error, 0.0))
        return [cotangent * _or_slope(_one_minus(s) * s, limit)]

    return traced(result, [x], pull)


def _or_slope(by_result: Rounded, slope: np.ndarray) -> Rounded:
    """A derivative by its function's result; where that is at its limit, perhaps by the operand.

    1 − tanh² is 0 there, 1/cosh² is not yet: both are usual (MLX has the latter).

    Args:
        by_result: the derivative computed from the result.
        slope: at most so large it is in truth.
    """
    seen = slope >= min(by_result.precision.underflow, FORMATS["float32"].tiny) / 2
    limit = (by_result.value == 0) & (by_result.error == 0) & seen
    error = np.where(limit, slope, by_result.error)
    return Rounded(by_result.value, error, by_result.precision)


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
        x: the operand.
        value, error: of the result elsewhere; the latter may be written over.
        ends: beyond which operand which limit is reached.
    """
    if not x.vague:
        np.copyto(error, 0.0, where=(x.value == 0) & (x.error == 0))
    largest = x.size.max(initial=0.0)
    for threshold, limit in ends:
        if not largest < abs(threshold):
            reached = _reaches(x, threshold)
            value, error = np.where(reached, limit, value), np.where(reached, 0.0, error)
    if x.doubtful and not x.error.max() < np.inf:
        np.copyto(error, np.inf, where=~np.isfinite(x.error))
    return Rounded(value, error, x.precision)


def relu(x: Rounded) -> Rounded:
    """max(x, 0): exact, and never steeper than 1."""
    error = np.where(x.value + x.error <= 0, 0.0, x.error)
    result = Rounded(np.maximum(x.value, 0.0), error, x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # On which side of 0 an uncertain operand lies, nobody knows; at 0 the slope is 0.
        doubtful = np.logical_not(np.abs(x.value) > x.error) & (x.error != 0)
        on = x.value > 0
        error = np.where(on, cotangent.error, 0.0)
        error = np.where(doubtful, np.abs(cotangent.value) + cotangent.error, error)
        return [Rounded(np.where(on, cotangent.value, 0.0), error, x.precision)]

    return traced(result, [x], pull)


def blend(z: Rounded, n: Rounded, h: Rounded) -> Rounded:
    """(1 − z)·n + z·h as one operation: z's error acts through h − n only (DESIGN §3.2).

    The rounding term covers both usual forms, (1 − z)·n + z·h and n + z·(h − n).
    """
    rest = 1.0 - z.value
    value = rest * n.value + z.value * h.value
    rest, between = np.abs(rest), np.abs(h.value - n.value) + h.error + n.error
    propagated = z.error * between + rest * n.error + z.size * h.error
    steps = z.reach * (n.reach + h.size + h.error) + (rest + z.error) * n.reach
    unit = z.precision.unit + OWN
    rounding = unit * (2 * steps + np.abs(value) + propagated) + 3 * z.precision.underflow
    error = propagated + rounding
    if not (z.vague or n.vague or h.vague):
        np.copyto(error, 0.0, where=_blends_exactly(z, n, h))
    if z.node is None and n.node is None and h.node is None:
        return Rounded(value, error, z.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        minus_n = Rounded(-n.value, n.error, n.precision)
        return [
            cotangent * (h.bare + minus_n),
            cotangent * _one_minus(z.bare),
            cotangent * z.bare,
        ]

    return traced(Rounded(value, error, z.precision), [z, n, h], pull)


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
