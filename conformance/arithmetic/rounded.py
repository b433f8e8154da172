"""Arithmetic that carries its own error bound.

A `Rounded` is (value, error): the exact result computed in float64, and how far a correct
floating-point implementation may be from it. It follows the running error analysis of Higham,
*Accuracy and Stability of Numerical Algorithms* (2002), §3.3. A sum of n terms errs by at most
n·u·Σ|terms| in any order (Jeannerod and Rump, *Improved error bounds for inner products in
floating-point arithmetic*, 2013: no second-order term).

Where every term is an integer multiple of one power of two q and Σ|terms| ≤ 2^p·q, no partial sum
in any order rounds at all: the error is 0 and the check requires equality.

Operands near the end of the range overflow on purpose: callers set `numpy.errstate` to ignore it.
Most arrays are small, so that calling NumPy costs more than the arithmetic: hence the short cuts
where all elements of an operand are exact, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from conformance.arithmetic.exactness import every, quanta, some
from conformance.arithmetic.precision import Precision
from conformance.model.cached import lazy
from conformance.model.formats import FORMATS

OWN = FORMATS["float64"].unit  # the oracle rounds, too


@dataclass(frozen=True, eq=False)
class Node:
    """One recorded operation.

    Args:
        operands: the operation's operands.
        pull: the output's cotangent → one cotangent for each operand, None = no dependence.
    """

    operands: Sequence[Rounded]
    pull: Callable[[Rounded], list[Rounded | None]]


@dataclass(frozen=True, eq=False, init=False)
class Rounded:
    """Values and how far a correct implementation may be from them.

    Args:
        value: float64 or complex128 array.
        error: float64 array of the same shape, ≥ 0 (infinite = any value is right).
        precision: how the implementation rounds.
        magnitude: Σ|terms| of a sum of products; None = |value|.
        terms: largest number of terms of one sum.
        grain: a power of two that divides all terms; None = derive it from the values.
        node: the recorded operation, if derivatives are needed (`derivatives.py`).
        addends: the terms of a sum that were stored before they were added.
    """

    value: np.ndarray
    error: np.ndarray
    precision: Precision
    magnitude: np.ndarray | None = None
    grain: float | None = None
    terms: int = 1
    node: Node | None = None
    addends: tuple[Rounded, ...] = ()

    def __init__(
        self,
        value: np.ndarray,
        error: np.ndarray,
        precision: Precision,
        magnitude: np.ndarray | None = None,
        grain: float | None = None,
        terms: int = 1,
        node: Node | None = None,
        addends: tuple[Rounded, ...] = (),
    ) -> None:
        # The generated __init__ of a frozen dataclass sets each field by a call, slower than a sum.
        own = self.__dict__
        own["value"], own["error"], own["precision"] = value, error, precision
        own["magnitude"], own["grain"], own["terms"] = magnitude, grain, terms
        own["node"], own["addends"] = node, addends

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.value.shape

    @lazy
    def doubtful(self) -> bool:
        """Whether any element is not known exactly."""
        return bool(np.count_nonzero(self.error))

    @lazy
    def vague(self) -> bool:
        """Whether no element is known exactly."""
        return bool(np.count_nonzero(self.error) == self.error.size)

    @lazy
    def quanta(self) -> np.ndarray:
        """For each element the largest power of two that divides it; 0 where it is inexact."""
        if self.vague:
            return np.zeros(self.shape)
        known = quanta(self.value)
        if self.doubtful:
            np.copyto(known, 0.0, where=self.error != 0)
        return known

    @lazy
    def size(self) -> np.ndarray:
        """|value|."""
        return np.asarray(np.abs(self.value))

    @lazy
    def extent(self) -> np.ndarray:
        """|value|, or |re| + |im|."""
        return _magnitude(self.value) if self.value.dtype.kind == "c" else self.size

    @property
    def flushed(self) -> Rounded:
        """The same, with subnormal elements in doubt: the backend may read them as zero."""
        return self._flushed or self

    @lazy
    def _flushed(self) -> Rounded | None:
        read_as_zero = (self.extent < self.precision.normal) & (self.extent > 0)
        if not some(read_as_zero):
            return None  # not `self`: a reference cycle would delay freeing the arrays
        error = np.where(read_as_zero, np.maximum(self.error, self.extent), self.error)
        return Rounded(self.value, error, self.precision)

    @lazy
    def reach(self) -> np.ndarray:
        """|value| + error."""
        return self.size + self.error if self.doubtful else self.size

    def with_error(self, error: np.ndarray) -> Rounded:
        """The same values with another error."""
        return Rounded(
            self.value, error, self.precision, self.magnitude, self.grain, self.terms, self.node
        )

    @property
    def bare(self) -> Rounded:
        """The same values and errors without recorded operation and without Σ|terms|."""
        return self if self.node is None and self.magnitude is None else self._bare

    @lazy
    def _bare(self) -> Rounded:
        return Rounded(self.value, self.error, self.precision)

    @lazy
    def lean(self) -> Rounded:
        """Values and errors alone, in as little memory as they need."""
        error = self.error if self.doubtful else np.broadcast_to(0.0, self.shape)
        return Rounded(self.value, error, self.precision)

    @lazy
    def decided(self) -> np.ndarray:
        """Which elements have a bound that excludes some answers.

        An exact NaN does. An element that may be NaN or a number has the error ∞.
        """
        return np.asarray(np.isfinite(self.error) & (~np.isnan(self.value) | (self.error == 0)))

    @lazy
    def least(self) -> float:
        """The largest power of two that divides every element; ∞ where all are 0."""
        return float(self.least_of_rows.min(initial=np.inf))

    @lazy
    def least_of_rows(self) -> np.ndarray:
        """`least` along the last axis."""
        return np.asarray(np.minimum.reduce(self.quanta, axis=-1, initial=np.inf))

    def map(self, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
        """Apply a function that only moves elements (reshape, transpose, index)."""
        moved = Rounded(move(self.value), move(self.error), self.precision)
        if self.node is None:
            return moved

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            def scatter(array: np.ndarray) -> np.ndarray:
                whole = np.zeros(self.shape, array.dtype)
                part = move(whole)
                if np.may_share_memory(part, whole):  # a view writes through
                    part[...] = array
                    return whole
                places = move(np.arange(whole.size).reshape(self.shape)).reshape(-1)
                whole.reshape(-1)[places] = array.reshape(-1)
                return whole

            return [moved_cotangent(cotangent, scatter)]

        return traced(moved, [self], pull)

    def __getitem__(self, index: Any) -> Rounded:
        return self.map(lambda array: np.asarray(array[index]))

    def part(self, index: Any) -> Rounded:
        """Select elements by index and keep their Σ|terms|, grain and addends."""
        node = None if self.node is None else self[index].node
        magnitude = None if self.magnitude is None else self.magnitude[index]
        addends = self.addends and tuple(addend.part(index) for addend in self.addends)
        return Rounded(
            self.value[index], self.error[index], self.precision, magnitude, self.grain,
            self.terms, node, addends,
        )  # fmt: skip

    def sum_of(self, *addends: Rounded) -> Rounded:
        """The same value, recorded as the sum of these stored addends."""
        whole = (
            Rounded(self._spread(x.value), self._spread(x.error), x.precision) for x in addends
        )
        return Rounded(
            self.value, self.error, self.precision, self.magnitude, self.grain, self.terms,
            self.node, tuple(whole),
        )  # fmt: skip

    def _spread(self, array: np.ndarray) -> np.ndarray:
        return array if array.shape == self.shape else np.broadcast_to(array, self.shape)

    def __add__(self, other: Rounded) -> Rounded:
        value, propagated = self.value + other.value, self.error + other.error
        if self.precision.flushes:
            # Operands may be read, and the sum may be stored, as zero.
            propagated = self.flushed.error + other.flushed.error
            size = _magnitude(value)
            propagated = propagated + np.where(size < self.precision.normal, size, 0.0)
        vague = self.vague or other.vague
        if not vague and some((propagated == 0) & (value != 0)):
            quanta = np.minimum(self.quanta, other.quanta)
            added = _rounded(value, propagated, self.size + other.size, quanta, self.precision)
        else:
            added = _stored(value, propagated, self.precision)
        if self.node is None and other.node is None:
            return added

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            return [unbroadcast(cotangent, self.shape), unbroadcast(cotangent, other.shape)]

        return traced(added, [self, other], pull)

    def __mul__(self, other: Rounded) -> Rounded:
        value, precision = self.value * other.value, self.precision
        a, b = (self.flushed, other.flushed) if precision.flushes else (self, other)
        if b.doubtful:
            propagated = a.reach * b.error
            if a.doubtful:
                propagated += a.error * b.size
        elif a.doubtful:
            propagated = a.error * b.size
        else:
            propagated = np.zeros(value.shape)
        inexact = value != 0
        if not every(inexact):
            lost = ~inexact & (self.value != 0) & (other.value != 0)
            if some(lost):  # too small for the oracle's own format
                propagated = propagated + FORMATS["float64"].tiny * lost
        if not every(propagated) and some((propagated == 0) & inexact):
            quanta = self.quanta * other.quanta
            inexact = inexact & ~(quanta >= precision.underflow)
            propagated = propagated + precision.underflow * inexact
            product = _rounded(value, propagated, np.abs(value), quanta, precision)
        else:
            propagated += precision.underflow if every(inexact) else precision.underflow * inexact
            product = _stored(value, propagated, precision)
        if self.node is None and other.node is None:
            return product

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            return [
                unbroadcast(cotangent * other.bare, self.shape),
                unbroadcast(cotangent * self.bare, other.shape),
            ]

        return traced(product, [self, other], pull)

    def __neg__(self) -> Rounded:
        negative = Rounded(
            -self.value, self.error, self.precision, self.magnitude, self.grain, self.terms
        )
        return traced(negative, [self], lambda cotangent: [-cotangent])

    def __sub__(self, other: Rounded) -> Rounded:
        return self + -other

    def __truediv__(self, other: Rounded) -> Rounded:
        """The quotient; exact where the divisor is a power of two and the format has the result.

        (a + e)/(b + f) − a/b = (e − f·a/b)/(b + f), at most (|e| + |f·a/b|)/(|b| − |f|). Any other
        quotient may be computed by a reciprocal, even if the format has it. A quotient by a number
        that may be 0 has the error ∞: not even the sign of a 0 is known.
        """
        precision = self.precision
        if precision.complex:
            raise TypeError("quotients of complex numbers have no bound here")
        a, b = (self.flushed, other.flushed) if precision.flushes else (self, other)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            value = np.asarray(a.value / b.value)
            room, size = b.size - b.error, np.abs(value)
            inherited = np.asarray((a.error + size * b.error) / room)
            inherited = np.where(room > 0, inherited, np.inf)
            relative = 2 * precision.ulp("divide") * precision.unit + OWN
            error = inherited + relative * (size + inherited)
            error += precision.underflow + precision.absolute("divide")
            error = np.where(size + error <= precision.largest, error, np.inf)
            certain = (a.error == 0) & (b.error == 0)
            if some(certain):
                exact = a.value == 0
                if precision.bits and precision.usual("divide"):
                    halves = np.frexp(b.size)[0] == 0.5
                    # Not the quotient's own quanta: the quotient may have lost bits in float64.
                    quantum = quanta(a.value) / b.size
                    fits = (size <= np.ldexp(quantum, precision.bits)) & (size <= precision.largest)
                    exact = exact | (halves & fits & (quantum >= precision.underflow))
                exact = exact & (room > 0) & np.isfinite(a.value) & np.isfinite(b.value)
                endless = np.isinf(a.value) & (b.value != 0) | np.isinf(b.value)
                exact = exact | (endless & ~np.isnan(a.value) & ~np.isnan(b.value))
                np.copyto(error, 0.0, where=certain & (exact | np.isnan(value)))
        quotient = Rounded(value, error, precision)
        if self.node is None and other.node is None:
            return quotient

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            # −(c·q)/b; (c/b)·q and −c·a/(b·b) round three times as well.
            by_divisor = -((cotangent * quotient) / other.bare)
            return [
                unbroadcast(cotangent / other.bare, self.shape),
                unbroadcast(by_divisor, other.shape),
            ]

        return traced(quotient, [self, other], pull)


def traced(
    result: Rounded,
    operands: Sequence[Rounded],
    pull: Callable[[Rounded], list[Rounded | None]],
) -> Rounded:
    """The result, recorded as an operation if any operand is recorded."""
    if all(operand.node is None for operand in operands):
        return result
    return with_node(result, Node(operands, pull))


def with_node(x: Rounded, node: Node | None) -> Rounded:
    """The same number with another node; `dataclasses.replace` is slower than the arithmetic."""
    return Rounded(x.value, x.error, x.precision, x.magnitude, x.grain, x.terms, node)


def moved_cotangent(cotangent: Rounded, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
    """A cotangent whose elements move; it keeps its Σ|terms|.

    An implementation may add further terms to that sum in place, so Σ|terms| must remain known.
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
    """Exact operands; the only error is that of reading them, if the backend declares one."""
    error = np.zeros(values.shape)
    if precision.operand_unit:
        size = _magnitude(values)
        read = precision.operand_unit * size
        # The largest numbers overflow when they are rounded up.
        read = np.where(size + read > precision.largest, np.inf, read)
        error = np.where(np.isfinite(size), read, 0.0)
    return Rounded(values, error, precision)


def _stored(value: np.ndarray, propagated: np.ndarray, precision: Precision) -> Rounded:
    """One operation's result: its inherited error plus the rounding of storing it."""
    reach = np.abs(value) + propagated
    error = np.asarray((precision.unit + OWN) * reach)
    error += propagated
    over = reach + error > precision.largest
    if some(over):
        np.copyto(error, np.inf, where=over)
    return Rounded(value, error, precision)


def _rounded(
    value: np.ndarray,
    propagated: np.ndarray,
    magnitude: np.ndarray,
    quanta: np.ndarray,
    precision: Precision,
) -> Rounded:
    """As `_stored`, but exact where no error is inherited and the format holds all bits."""
    exact = magnitude <= np.ldexp(quanta, precision.bits) if precision.bits else quanta == np.inf
    # Beyond the largest number even an exact result overflows.
    exact &= (propagated == 0) & (np.abs(value) <= precision.largest)
    if every(exact):
        return Rounded(value, np.zeros(value.shape), precision)
    result = _stored(value, propagated, precision)
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
        operands: the factors.
        plus: one more term for every sum (a bias), broadcast against the result.
        terms: largest number of products in one sum.
        wide: half-precision formats accumulate the sum in float32 and round it once (Linear and the
            forward convolution, docs/design.md); otherwise partial sums may be stored in the format
            itself.
        wide_adjoints: the same for the gradients; None = as `wide`.
        adjoints: for each operand the function (cotangent, *other operands) → its cotangent,
            multilinear with coefficients ≥ 0 as well.
        grain: operands → for each sum a power of two that divides its products, 0 or NaN = unknown;
            None = one for all sums, the product of the operands' `least`.
    """
    given, shift, precision = operands, plus, operands[0].precision
    if precision.flushes:
        operands = tuple(operand.flushed for operand in operands)
        plus = None if plus is None else plus.flushed
    value = function(*[operand.value for operand in operands])
    magnitude = function(*[operand.extent for operand in operands])
    inexact = any(operand.doubtful for operand in operands)
    inherited: np.ndarray | None = None
    if inexact:
        inherited, magnitude = _inherited(function, operands, magnitude, terms)
    # If every element of an operand is inexact, so is every product.
    apart = grain is not None and not (inexact and any(x.doubtful and x.vague for x in operands))
    products: Any = 0.0 if inexact else math.prod([operand.least for operand in operands])
    if apart and grain is not None:
        products = grain(*operands)
    fine = products >= precision.underflow
    any_fine, all_fine = (some(fine), every(fine)) if apart else (fine, fine)
    quantum = products
    if plus is not None:
        value = value + plus.value
        magnitude = magnitude + plus.extent
        if plus.doubtful:
            magnitude = magnitude + plus.error
            inherited = plus.error if inherited is None else inherited + plus.error
        if any_fine or not inexact:
            quantum = np.minimum(products, plus.least if grain is None else plus.quanta)
        terms += 1
    # Three real multiplications may replace a complex one (docs/design.md, Exact regime).
    factor = terms + 4 if precision.complex else terms
    least = 0.0 if inexact else float(np.min(quantum, initial=np.inf))
    exact = magnitude == 0
    if precision.bits and any_fine:
        fits = magnitude <= np.ldexp(quantum, precision.bits)
        exact = exact | (fits & (quantum >= precision.underflow))
    number = int(np.count_nonzero(exact))
    if number == exact.size:
        error = np.zeros(value.shape)
    else:
        unit = precision.wide_unit if wide else precision.sum_unit
        # Storing the sum rounds once more, unless it was accumulated in the format itself.
        final = precision.unit if precision.half or unit != precision.unit else 0.0
        error = np.asarray(factor * (unit + OWN) * magnitude)
        if inherited is not None:
            error += inherited
        if not all_fine:
            # A product of two factors that underflows may still be multiplied by the third.
            largest = 1.0
            if len(operands) > 2:
                largest = max(float(operand.extent.max(initial=1.0)) for operand in operands)
            lost = terms * precision.underflow * largest
            error += np.where(fine, 0.0, lost) if apart else lost
        # At the end of float64's own range even 0 · stored is NaN: nothing is known there.
        if final or precision.largest == FORMATS["float64"].largest:
            stored = np.abs(value) + error
            stored *= final
            error += stored
        if number:
            np.copyto(error, 0.0, where=exact)
    # Beyond the largest number a partial sum may overflow in one order and not in another.
    over = magnitude > precision.largest
    if some(over):
        np.copyto(error, np.inf, where=over)
    result = Rounded(value, error, precision, magnitude, least, factor)
    if all(operand.node is None for operand in given) and (shift is None or shift.node is None):
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        pulled: list[Rounded | None] = []
        for k, adjoint in enumerate(adjoints):
            others = [other.bare for j, other in enumerate(given) if j != k]
            longest = _longest(adjoint, cotangent.shape, *(other.shape for other in others))
            longest += len(others) - 1
            pulled.append(multilinear(adjoint, cotangent, *others, terms=longest, wide=wide_back))
        return pulled + ([] if shift is None else [unbroadcast(cotangent, shift.shape)])

    wide_back = wide if wide_adjoints is None else wide_adjoints
    return traced(result, [*given, *([] if shift is None else [shift])], pull)


def _inherited(
    function: Callable[..., np.ndarray],
    operands: Sequence[Rounded],
    magnitude: np.ndarray,
    terms: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The error that a sum of products inherits from its operands, and its largest magnitude.

    With one inexact operand it is the sum over that operand's errors. The difference of two
    magnitudes would lose the last bits, and an answer may lie exactly at the bound: the whole
    gradient, where 0 is right too.

    Args:
        function, operands, terms: as in `multilinear`.
        magnitude: Σ|terms| of the operands without their errors.
    """
    if sum(x.doubtful for x in operands) > 1:
        reach = function(*[x.extent + x.error if x.doubtful else x.extent for x in operands])
        return reach - magnitude, reach
    found = function(*[x.error if x.doubtful else x.extent for x in operands])
    # 0 times an infinite number is NaN: nothing is known there.
    found = np.where(np.isinf(magnitude), np.inf, found)
    # Each product and each partial sum rounds here.
    return found * (1 + (terms + len(operands)) * OWN), magnitude + found


@lru_cache(maxsize=256)
def _longest(adjoint: Callable[..., np.ndarray], *shapes: tuple[int, ...]) -> int:
    """The largest number of products in one sum, on operands of these shapes."""
    return int(adjoint(*map(np.ones, shapes)).max(initial=1.0))


def _magnitude(values: np.ndarray) -> np.ndarray:
    """|x|, or |re| + |im|."""
    if values.dtype.kind == "c":
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
    if len(parts) == 1 and parts[0].node is None:
        return parts[0].map(lambda array: np.expand_dims(array, axis) if new else array)
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
