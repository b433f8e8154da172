"""Sums of an input's elements with a weight for each spatial dimension, and their derivatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np

from conformance.arithmetic.elementary import constants
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, multilinear, with_pullback
from conformance.oracles.interpolation.axis import Axis


def weighted_sum(
    x: Rounded, axes: Sequence[Axis], backward_axes: Sequence[Axis], *, separable: bool = False
) -> Rounded:
    """Σ x·w₁·…·w_d over all taps, computed wide.

    Args:
        x: (*, one length for each axis).
        axes: weights of the forward pass, in the order of the dimensions.
        backward_axes: weights of the backward pass.
        separable: every implementation sums one dimension after the other; otherwise it may
            multiply the weights first.
    """
    taps = [_max_taps(axis.touched) for axis in axes]
    terms = sum(taps) if separable else math.prod(taps) + len(taps) - 1
    result = stored(_sum_taps(widened(x.detached), axes, terms), x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [stored(input_cotangent(widened(cotangent.detached), backward_axes), x.precision)]

    return with_pullback(result, [x], pull)


def apply_matrices(x: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
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


def _sum_taps(x: Rounded, axes: Sequence[Axis], terms: int) -> Rounded:
    def function(x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        pairs = zip(axes, weights, strict=True)
        return apply_matrices(x, [axis.by_element(weight) for axis, weight in pairs])

    quanta = [_smallest_quantum(axis.weights.quanta, 1) for axis in axes]
    single_taps = [_is_single_tap(axis.weights.value, axis.weights.error, 1) for axis in axes]
    return _sum(x, function, axes, terms, quanta, single_taps)


def input_cotangent(cotangent: Rounded, axes: Sequence[Axis]) -> Rounded:
    """The cotangent of the input of a weighted sum.

    Args:
        cotangent: that of the output, wide.
        axes: weights, in the order of the dimensions.
    """

    def function(c: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        pairs = zip(axes, weights, strict=True)
        return apply_matrices(c, [axis.by_element(weight).T for axis, weight in pairs])

    counts, quanta, single_taps = [], [], []
    for axis in axes:
        nonzero = (axis.weights.value != 0) | (axis.weights.error != 0)
        counts.append(_max_taps(axis.by_element(nonzero.astype(float)).T))
        element_quanta = np.full(axis.length, np.inf)
        np.minimum.at(element_quanta, axis.read_index, _smallest_quantum(axis.weights.quanta, 0))
        quanta.append(element_quanta)
        value, error = axis.by_element(axis.weights.value), axis.by_element(axis.weights.error)
        taps = axis.by_element(nonzero.astype(float)).sum(0)
        single_taps.append(_is_single_tap(value, error, 0) & (taps == 1))
    return _sum(cotangent, function, axes, math.prod(counts) + len(axes) - 1, quanta, single_taps)


def _sum(
    x: Rounded,
    function: object,
    axes: Sequence[Axis],
    terms: int,
    quanta: Sequence[np.ndarray],
    single_taps: Sequence[np.ndarray],
) -> Rounded:
    """A sum whose products are multiples of x's quantum times the quanta of a row of weights.

    Where the only weight is 1, the element is copied without rounding.
    """

    def grain(*operands: Rounded) -> np.ndarray:
        return np.asarray(operands[0].common_quantum * _outer(quanta))

    result = multilinear(
        function,  # type: ignore[arg-type]
        x,
        *(axis.weights for axis in axes),
        terms=max(terms, 1),
        wide=True,
        grain=grain,
    )
    copies = reduce(np.logical_and.outer, single_taps)
    if not copies.any():
        return result
    flushed_input = x.flushed if x.precision.flushes else x
    inherited = function(flushed_input.error, *(axis.weights.value for axis in axes))  # type: ignore[operator]
    return result.with_error(np.where(copies, inherited, result.error))


def _outer(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The outer product; 0·∞ counts as 0, meaning unknown."""
    with np.errstate(invalid="ignore"):
        products = np.asarray(reduce(np.multiply.outer, factors))
    return np.where(np.isnan(products), 0.0, products)


def _smallest_quantum(quanta: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(quanta.min(axis=axis))


def _is_single_tap(value: np.ndarray, error: np.ndarray, axis: int) -> np.ndarray:
    """Where the weights certainly consist of a single 1."""
    has_one = (value == 1.0).sum(axis) == 1
    return np.asarray(has_one & ((value != 0).sum(axis) == 1) & ~(error != 0).any(axis))


def _max_taps(used: np.ndarray) -> int:
    return max(int(used.sum(1).max(initial=1)), 1)


def window_averages(x: Rounded, axes: Sequence[Axis], counts: Sequence[np.ndarray]) -> Rounded:
    """Sums over windows, divided by the number of their elements.

    The sum is wide. The backward pass adds the quotients of overlapping windows in the dtype, like
    all gradients of an element that is used more than once.

    Args:
        x: (*, one length for each axis).
        axes: weights of 1.
        counts: for each axis the number of elements in each window.
    """
    window_sizes = np.asarray(reduce(np.multiply.outer, counts))
    taps = math.prod(_max_taps(axis.touched) for axis in axes)
    sums = _sum_taps(widened(x.detached), axes, max(taps - 1, 1))
    result = stored(_divide(sums, window_sizes), x.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        quotients = stored(_divide(widened(cotangent.detached), window_sizes), x.precision)
        # Dividing by one length of the window after the other stores each quotient.
        storing_error = (len(counts) - 1) * (x.precision.unit + ORACLE_UNIT) * quotients.abs_bound
        quotients = quotients.with_error(
            quotients.error + np.where(quotients.error > 0, storing_error, 0.0)
        )
        matrices = [axis.weights.value for axis in axes]

        def function(c: np.ndarray) -> np.ndarray:
            return apply_matrices(c, [matrix.T for matrix in matrices])

        max_windows = math.prod(_max_taps(matrix.T > 0) for matrix in matrices)
        gradient = multilinear(function, quotients.detached, terms=max(max_windows - 1, 1))
        single_window = reduce(np.logical_and.outer, [matrix.sum(0) == 1 for matrix in matrices])
        return [
            gradient.with_error(np.where(single_window, function(quotients.error), gradient.error))
        ]

    return with_pullback(result, [x], pull)


def _divide(sums: Rounded, window_sizes: np.ndarray) -> Rounded:
    """Sums divided by counts, with a bound for reciprocals and for one dimension at a time."""
    quotient = sums.detached / constants(window_sizes, sums)
    if (np.frexp(window_sizes)[0] == 0.5).all():
        return quotient
    reciprocal_error = 2 * (sums.precision.unit + ORACLE_UNIT) * quotient.abs_bound
    return quotient.with_error(quotient.error + np.where(quotient.error > 0, reciprocal_error, 0.0))
