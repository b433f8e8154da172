"""Sums of an input's elements with a weight for each spatial dimension, and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from conformance.arithmetic.elementary import known
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.rounded import OWN, Rounded, multilinear, traced
from conformance.oracles.interpolation.axis import Axis


def weighted(
    x: Rounded, axes: Sequence[Axis], back: Sequence[Axis], *, apart: bool = False
) -> Rounded:
    """Σ x·w₁·…·w_d over all taps, computed wide.

    Args:
        x: (*, one length for each axis).
        axes: weights of the forward pass, in the order of the dimensions.
        back: weights of the backward pass.
        apart: every implementation sums one dimension after the other; otherwise it may multiply
            the weights first.
    """
    taps = [_most(axis.touched) for axis in axes]
    terms = sum(taps) if apart else math.prod(taps) + len(taps) - 1
    result = stored(_summed(widened(x.bare), axes, terms), x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [stored(pulled(widened(cotangent.bare), back), x.precision)]

    return traced(result, [x], pull)


def applied(x: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Apply each matrix (outputs, length) along its dimension.

    Args:
        x: (*, one length for each matrix).
        matrices: in the order of the last dimensions.
    """
    for axis, matrix in enumerate(reversed(matrices)):
        moved = np.moveaxis(x, -1 - axis, -1) if axis else x
        moved = moved @ matrix.T
        x = np.moveaxis(moved, -1, -1 - axis) if axis else moved
    return x


def _summed(x: Rounded, axes: Sequence[Axis], terms: int) -> Rounded:
    def function(x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        pairs = zip(axes, weights, strict=True)
        return applied(x, [axis.gathered(weight) for axis, weight in pairs])

    fine = [_finest(axis.weights.quanta, 1) for axis in axes]
    only = [_only(axis.weights.value, axis.weights.error, 1) for axis in axes]
    return _sum(x, function, axes, terms, fine, only)


def pulled(cotangent: Rounded, axes: Sequence[Axis]) -> Rounded:
    """The cotangent of the input of a weighted sum.

    Args:
        cotangent: that of the output, wide.
        axes: weights, in the order of the dimensions.
    """

    def function(c: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        pairs = zip(axes, weights, strict=True)
        return applied(c, [axis.gathered(weight).T for axis, weight in pairs])

    counts, fine, only = [], [], []
    for axis in axes:
        used = (axis.weights.value != 0) | (axis.weights.error != 0)
        counts.append(_most(axis.gathered(used.astype(float)).T))
        finest = np.full(axis.length, np.inf)
        np.minimum.at(finest, axis.reads, _finest(axis.weights.quanta, 0))
        fine.append(finest)
        value, error = axis.gathered(axis.weights.value), axis.gathered(axis.weights.error)
        taps = axis.gathered(used.astype(float)).sum(0)
        only.append(_only(value, error, 0) & (taps == 1))
    return _sum(cotangent, function, axes, math.prod(counts) + len(axes) - 1, fine, only)


def _sum(
    x: Rounded,
    function: object,
    axes: Sequence[Axis],
    terms: int,
    fine: Sequence[np.ndarray],
    only: Sequence[np.ndarray],
) -> Rounded:
    """A sum whose products are multiples of x's quantum times the quanta of a row of weights.

    Where the only weight is 1, the element is copied without rounding.
    """

    def grain(*operands: Rounded) -> np.ndarray:
        return np.asarray(operands[0].least * _outer(fine))

    result = multilinear(
        function,  # type: ignore[arg-type]
        x,
        *(axis.weights for axis in axes),
        terms=max(terms, 1),
        wide=True,
        grain=grain,
    )
    copies = reduce(np.logical_and.outer, only)
    if not copies.any():
        return result
    read = x.flushed if x.precision.flushes else x
    inherited = function(read.error, *(axis.weights.value for axis in axes))  # type: ignore[operator]
    return result.with_error(np.where(copies, inherited, result.error))


def _outer(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The outer product; 0·∞ counts as 0, meaning unknown."""
    with np.errstate(invalid="ignore"):
        found = np.asarray(reduce(np.multiply.outer, factors))
    return np.where(np.isnan(found), 0.0, found)


def _finest(quanta: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(quanta.min(axis=axis))


def _only(value: np.ndarray, error: np.ndarray, axis: int) -> np.ndarray:
    """Where the weights certainly consist of a single 1."""
    one = (value == 1.0).sum(axis) == 1
    return np.asarray(one & ((value != 0).sum(axis) == 1) & ~(error != 0).any(axis))


def _most(used: np.ndarray) -> int:
    return max(int(used.sum(1).max(initial=1)), 1)


def averages(x: Rounded, axes: Sequence[Axis], counts: Sequence[np.ndarray]) -> Rounded:
    """Sums over windows, divided by the number of their elements.

    The sum is wide. The backward pass adds the quotients of overlapping windows in the dtype, like
    all gradients of an element that is used more than once.

    Args:
        x: (*, one length for each axis).
        axes: weights of 1.
        counts: for each axis the number of elements in each window.
    """
    number = np.asarray(reduce(np.multiply.outer, counts))
    taps = math.prod(_most(axis.touched) for axis in axes)
    sums = _summed(widened(x.bare), axes, max(taps - 1, 1))
    result = stored(_divided(sums, number), x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        each = stored(_divided(widened(cotangent.bare), number), x.precision)
        # Dividing by one length of the window after the other stores each quotient.
        more = (len(counts) - 1) * (x.precision.unit + OWN) * each.reach
        each = each.with_error(each.error + np.where(each.error > 0, more, 0.0))
        matrices = [axis.weights.value for axis in axes]

        def function(c: np.ndarray) -> np.ndarray:
            return applied(c, [matrix.T for matrix in matrices])

        most = math.prod(_most(matrix.T > 0) for matrix in matrices)
        spread = multilinear(function, each.bare, terms=max(most - 1, 1))
        alone = reduce(np.logical_and.outer, [matrix.sum(0) == 1 for matrix in matrices])
        return [spread.with_error(np.where(alone, function(each.error), spread.error))]

    return traced(result, [x], pull)


def _divided(sums: Rounded, number: np.ndarray) -> Rounded:
    """Sums divided by counts, with a bound for reciprocals and for one dimension at a time."""
    quotient = sums.bare / known(number, sums)
    if (np.frexp(number)[0] == 0.5).all():
        return quotient
    more = 2 * (sums.precision.unit + OWN) * quotient.reach
    return quotient.with_error(quotient.error + np.where(quotient.error > 0, more, 0.0))
