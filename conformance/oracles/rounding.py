"""Arithmetic that carries its own error bound.

A `Rounded` is (value, error): the exact result computed in float64, and how far a correct
floating-point implementation may be from it, after the running error analysis of Higham,
*Accuracy and Stability of Numerical Algorithms* (2002), §3.3. A sum of n terms contributes
n·u·Σ|terms| in whatever order it is taken (Jeannerod and Rump, *Improved error bounds for inner
products in floating-point arithmetic*, 2013: no second-order term).

Where every term is an integer multiple of one power of two q and Σ|terms| ≤ 2^p·q, no partial sum
in any order rounds at all: the error is 0 and the check asks for equality.

Operands on the edge of the range overflow on purpose: callers set `numpy.errstate` to ignore it.
Most arrays are small, so that a call of NumPy costs more than its arithmetic: hence the short cuts
where all of an operand is known exactly, or none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..formats import FORMATS
from .precision import Precision

OWN = FORMATS["float64"].unit  # the oracle rounds, too
_SIGNIFICAND = 2**52 - 1  # the bits of a float64 that hold it


@dataclass(frozen=True, eq=False)
class Node:
    """One recorded operation.

    Args:
        operands: what it was applied to.
        pull: the output's cotangent → one for each operand, None = no dependence.
    """

    operands: Sequence[Rounded]
    pull: Callable[[Rounded], list[Rounded | None]]


@dataclass(frozen=True, eq=False)
class Rounded:
    """Values and how far a correct implementation may be from them.

    Args:
        value: float64 or complex128 array.
        error: float64 array of the same shape, ≥ 0 (infinite = anything goes).
        precision: how the implementation rounds.
        magnitude: of a sum of products, Σ|terms|; None = |value|.
        terms: how many they are at most.
        grain: the power of two of which all its terms are multiples; None = as the values show.
        node: how it was computed, where derivatives are asked for (`derivatives.py`).
    """

    value: np.ndarray
    error: np.ndarray
    precision: Precision
    magnitude: np.ndarray | None = None
    grain: float | None = None
    terms: int = 1
    node: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.value.shape

    @cached_property
    def doubtful(self) -> bool:
        """Whether any element is not known exactly."""
        return bool(np.count_nonzero(self.error))

    @cached_property
    def vague(self) -> bool:
        """Whether no element is known exactly."""
        return bool(np.count_nonzero(self.error) == self.error.size)

    @cached_property
    def quanta(self) -> np.ndarray:
        """For each element the power of two of which it is a multiple; 0 where it is in doubt."""
        if self.vague:
            return np.zeros(self.shape)
        known = quanta(self.value)
        return np.where(self.error == 0, known, 0.0) if self.doubtful else known

    @cached_property
    def bare(self) -> Rounded:
        """Without its history: numbers in doubt, whatever they were sums of."""
        if self.node is None and self.magnitude is None:
            return self
        return Rounded(self.value, self.error, self.precision)

    @cached_property
    def decided(self) -> np.ndarray:
        """Which elements a correct implementation cannot give just any value."""
        return np.asarray(np.isfinite(self.error) & ~np.isnan(self.value))

    @cached_property
    def least(self) -> float:
        """The power of two of which every element is a multiple; ∞ where all are 0."""
        return float(self.least_of_rows.min(initial=np.inf))

    @cached_property
    def least_of_rows(self) -> np.ndarray:
        """`least` along the last axis."""
        return np.asarray(self.quanta.min(axis=-1, initial=np.inf))

    def map(self, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
        """Apply a function that only moves elements (reshape, transpose, index)."""
        moved = Rounded(move(self.value), move(self.error), self.precision)
        if self.node is None:
            return moved

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            places = move(np.arange(self.value.size).reshape(self.shape)).reshape(-1)

            def scatter(array: np.ndarray) -> np.ndarray:
                flat = np.zeros(self.value.size, array.dtype)
                flat[places] = array.reshape(-1)
                return flat.reshape(self.shape)

            return [moved_cotangent(cotangent, scatter)]

        return traced(moved, [self], pull)

    def __getitem__(self, index: Any) -> Rounded:
        return self.map(lambda array: np.asarray(array[index]))

    def part(self, index: Any) -> Rounded:
        """Some of the elements, as the sums of products that they are."""
        part = self[index]
        magnitude = None if self.magnitude is None else self.magnitude[index]
        return Rounded(
            part.value, part.error, part.precision, magnitude, self.grain, self.terms, part.node
        )

    def __add__(self, other: Rounded) -> Rounded:
        value, propagated = self.value + other.value, self.error + other.error
        if self.vague or other.vague:
            added = _stored(value, propagated, self.precision)
        else:
            quanta = np.minimum(self.quanta, other.quanta)
            magnitude = np.abs(self.value) + np.abs(other.value)
            added = _rounded(value, propagated, magnitude, quanta, self.precision)

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            return [unbroadcast(cotangent, self.shape), unbroadcast(cotangent, other.shape)]

        return traced(added, [self, other], pull)

    def __mul__(self, other: Rounded) -> Rounded:
        value, precision = self.value * other.value, self.precision
        propagated = np.zeros(value.shape)
        if other.doubtful:
            propagated = (np.abs(self.value) + self.error) * other.error
        if self.doubtful:
            propagated = propagated + self.error * np.abs(other.value)
        underflow = np.where(value == 0, 0.0, precision.underflow)
        if self.vague or other.vague:
            product = _stored(value, propagated + underflow, precision)
        else:
            quanta = self.quanta * other.quanta
            underflow = np.where(quanta >= precision.underflow, 0.0, underflow)
            product = _rounded(value, propagated + underflow, np.abs(value), quanta, precision)

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            return [cotangent * other.bare, cotangent * self.bare]

        return traced(product, [self, other], pull)


def traced(
    result: Rounded,
    operands: Sequence[Rounded],
    pull: Callable[[Rounded], list[Rounded | None]],
) -> Rounded:
    """Record an operation, if any operand is recorded."""
    if all(operand.node is None for operand in operands):
        return result
    return _with(result, Node(operands, pull))


def _with(x: Rounded, node: Node | None) -> Rounded:
    # In place of `dataclasses.replace`, which takes longer than the arithmetic.
    return Rounded(x.value, x.error, x.precision, x.magnitude, x.grain, x.terms, node)


def moved_cotangent(cotangent: Rounded, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
    """A cotangent whose elements move; it stays the sum that it is.

    An implementation may add further terms to that sum in place: its Σ|terms| must not get lost.
    """
    magnitude = None if cotangent.magnitude is None else move(cotangent.magnitude)
    value, error = move(cotangent.value), move(cotangent.error)
    return Rounded(value, error, cotangent.precision, magnitude, cotangent.grain, cotangent.terms)


def unbroadcast(cotangent: Rounded, shape: tuple[int, ...]) -> Rounded:
    """The cotangent of an operand of `shape` that was broadcast: a sum over the copies."""
    if cotangent.shape == shape:
        return cotangent
    extra = len(cotangent.shape) - len(shape)
    kept = cotangent.shape[extra:]
    axes = [*range(extra), *(extra + k for k, n in enumerate(shape) if n != kept[k])]

    def total(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.sum(axis=tuple(axes)).reshape(shape))

    copies = int(np.prod([cotangent.shape[axis] for axis in axes]))
    return multilinear(total, cotangent, terms=max(copies, 1))


def exactly(values: np.ndarray, precision: Precision) -> Rounded:
    """Operands as given: no error but that of reading them, where a backend declares one."""
    error = np.zeros(values.shape)
    if precision.operand_unit:
        size = _magnitude(values)
        read = precision.operand_unit * size
        # Rounded up, the largest numbers leave the range.
        read = np.where(size + read > precision.largest, np.inf, read)
        error = np.where(np.isfinite(size), read, 0.0)
    return Rounded(values, error, precision)


def quanta(values: np.ndarray) -> np.ndarray:
    """For each element the largest power of two of which it is a multiple; ∞ for 0."""
    if np.iscomplexobj(values):
        return np.asarray(np.minimum(quanta(values.real), quanta(values.imag)))
    size = np.abs(values)
    bits = size.view(np.int64)
    # Clearing the lowest bit of the significand takes one quantum away; a power of two has none.
    quantum = np.asarray(size - (bits & (bits - 1)).view(np.float64))
    np.copyto(quantum, size, where=bits & _SIGNIFICAND == 0)
    np.copyto(quantum, np.inf, where=bits == 0)
    return quantum


def _stored(value: np.ndarray, propagated: np.ndarray, precision: Precision) -> Rounded:
    """One operation's result: the error it inherits and the rounding of storing it."""
    reach = np.abs(value) + propagated
    error = np.asarray(propagated + (precision.unit + OWN) * reach)
    np.copyto(error, np.inf, where=reach + error > precision.largest)
    return Rounded(value, error, precision)


def _rounded(
    value: np.ndarray,
    propagated: np.ndarray,
    magnitude: np.ndarray,
    quanta: np.ndarray,
    precision: Precision,
) -> Rounded:
    """Likewise, but exact where nothing is inherited and the quanta leave nothing to round."""
    result = _stored(value, propagated, precision)
    exact = magnitude <= np.ldexp(quanta, precision.bits) if precision.bits else quanta == np.inf
    # Beyond the largest number it overflows, however exact.
    exact &= (propagated == 0) & (np.abs(value) <= precision.largest)
    np.copyto(result.error, 0.0, where=exact)
    return result


def multilinear(
    function: Callable[..., np.ndarray],
    *operands: Rounded,
    plus: Rounded | None = None,
    terms: int,
    wide: bool = False,
    wide_adjoints: bool | None = None,
    adjoints: Sequence[Callable[..., np.ndarray]] = (),
    grain: Callable[..., np.ndarray] | None = None,
) -> Rounded:
    """Sums of products: `function(*operands) + plus`, with the bound of any summation order.

    Args:
        function: linear in each operand, with coefficients ≥ 0 (a contraction, a convolution).
            Hence |function(v + e) − function(v)| ≤ function(|v| + e) − function(|v|).
        operands: what is multiplied.
        plus: one more term for every sum (a bias), broadcast against the result.
        terms: at most so many products in each sum.
        wide: the sum is accumulated in float32 in half-precision formats and rounded once
            (Linear and the forward convolution, DESIGN §3.3); otherwise partial sums may be
            stored in the format itself.
        wide_adjoints: likewise for the gradients; None = as the sum itself.
        adjoints: for each operand the function (cotangent, *other operands) → its cotangent,
            multilinear with coefficients ≥ 0 as well.
        grain: operands → for each sum the power of two of which its products are multiples, 0 or
            NaN = not known; None = one for all, the product of the operands' own.
    """
    given = operands
    shift = plus
    precision = operands[0].precision
    if precision.flushes:
        operands = tuple(_flushed(operand) for operand in operands)
        plus = None if plus is None else _flushed(plus)
    value = function(*(operand.value for operand in operands))
    inexact = any(operand.doubtful for operand in operands)
    magnitude = function(*(_magnitude(operand.value) for operand in operands))
    propagated: np.ndarray = np.zeros(value.shape)
    if inexact:
        reach = function(*(_magnitude(operand.value) + operand.error for operand in operands))
        propagated, magnitude = reach - magnitude, reach
    if grain is not None:
        products = grain(*operands)
    else:
        products = np.asarray(0.0 if inexact else math.prod(operand.least for operand in operands))
    quantum = products
    if plus is not None:
        value = value + plus.value
        propagated = propagated + plus.error
        magnitude = magnitude + _magnitude(plus.value) + plus.error
        quantum = np.minimum(quantum, plus.least if grain is None else plus.quanta)
        terms += 1
    # Three real multiplications may do a complex one (DESIGN §3.6).
    factor = terms + 4 if precision.complex else terms
    unit = precision.wide_unit if wide else precision.sum_unit
    # Storing the sum rounds once more, unless it was accumulated in the format itself.
    final = precision.unit if precision.half or unit != precision.unit else 0.0
    fine = products >= precision.underflow
    underflow: np.ndarray | float = 0.0
    if not fine.all():
        # A product of two that underflows may still be multiplied by the third.
        largest = max(float(_magnitude(operand.value).max(initial=1.0)) for operand in operands)
        most = terms * precision.underflow * (largest if len(operands) > 2 else 1.0)
        underflow = np.where(fine, 0.0, most)
    propagated = propagated + factor * (unit + OWN) * magnitude + underflow
    propagated = propagated + final * (np.abs(value) + propagated)
    exact = magnitude == 0
    if precision.bits:
        fits = magnitude <= np.ldexp(quantum, precision.bits)
        exact = exact | (fits & (quantum >= precision.underflow))
    error = np.where(exact, 0.0, propagated)
    # Beyond the largest number a partial sum may overflow in one order and not in another.
    error = np.where(magnitude > precision.largest, np.inf, error)
    least = 0.0 if inexact else float(quantum.min(initial=np.inf))
    result = Rounded(value, error, precision, magnitude, least, factor)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        pulled: list[Rounded | None] = []
        for k, adjoint in enumerate(adjoints):
            others = [other.bare for j, other in enumerate(given) if j != k]
            ones = [np.ones(x.shape) for x in (cotangent, *others)]
            longest = int(adjoint(*ones).max(initial=1.0)) + len(others) - 1
            pulled.append(multilinear(adjoint, cotangent, *others, terms=longest, wide=wide_back))
        return pulled + ([] if shift is None else [unbroadcast(cotangent, shift.shape)])

    wide_back = wide if wide_adjoints is None else wide_adjoints
    return traced(result, [*given, *([] if shift is None else [shift])], pull)


def _flushed(operand: Rounded) -> Rounded:
    """A subnormal operand may be read as zero."""
    size = _magnitude(operand.value)
    read_as_zero = (size < operand.precision.normal) & (size > 0)
    if not read_as_zero.any():
        return operand
    error = np.where(read_as_zero, np.maximum(operand.error, size), operand.error)
    return Rounded(operand.value, error, operand.precision)


def _magnitude(values: np.ndarray) -> np.ndarray:
    """|x|, or |re| + |im|."""
    if np.iscomplexobj(values):
        return np.asarray(np.abs(values.real) + np.abs(values.imag))
    return np.asarray(np.abs(values))


def _masked(cotangent: Rounded, mask: np.ndarray) -> Rounded:
    return moved_cotangent(cotangent, lambda array: np.where(mask, array, 0.0))


def choose(condition: np.ndarray, a: Rounded, b: Rounded) -> Rounded:
    """`numpy.where` on values and errors."""
    chosen = Rounded(
        np.where(condition, a.value, b.value), np.where(condition, a.error, b.error), a.precision
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        masks = (condition, np.logical_not(condition))
        return [_masked(cotangent, mask) for mask in masks]

    return traced(chosen, [a, b], pull)


def _piece(
    cotangent: Rounded, axis: int, start: int, width: int, shape: tuple[int, ...]
) -> Rounded:
    piece = range(start, start + width)
    return moved_cotangent(cotangent, lambda array: array.take(piece, axis=axis).reshape(shape))


def join(parts: list[Rounded], axis: int, *, new: bool = False) -> Rounded:
    """`numpy.concatenate`, or `numpy.stack` along a new axis."""
    gather = np.stack if new else np.concatenate
    joined = Rounded(
        gather([part.value for part in parts], axis=axis),
        gather([part.error for part in parts], axis=axis),
        parts[0].precision,
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        at, pulled = 0, list[Rounded | None]()
        for part in parts:
            width = 1 if new else part.shape[axis]
            pulled.append(_piece(cotangent, axis, at, width, part.shape))
            at += width
        return pulled

    return traced(joined, parts, pull)
