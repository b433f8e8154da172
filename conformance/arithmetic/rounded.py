"""Arithmetic that carries its own error bound.

A `Rounded` is (value, error): the exact result computed in float64, and how far a correct
floating-point implementation may be from it. It follows the running error analysis of Higham,
*Accuracy and Stability of Numerical Algorithms* (2002), §3.3. A sum of n terms errs by at most
n·u·Σ|terms| in any order. There is no second-order term: Jeannerod and Rump, *Improved error bounds
for inner products in floating-point arithmetic* (2013).

A sum may be exact: every term is an integer multiple of one power of two q, and Σ|terms| ≤ 2^p·q.
Then no partial sum in any order rounds. The error is 0, and the check requires equality.

Operands near the end of the range overflow on purpose: callers set `numpy.errstate` to ignore it.
Most arrays are small, so that calling NumPy costs more than the arithmetic: hence the short cuts
where all elements of an operand are exact, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from conformance.arithmetic.exactness import all_true, any_true, quanta
from conformance.arithmetic.precision import Precision
from conformance.model.cached import lazy
from conformance.model.formats import FORMATS

ORACLE_UNIT = FORMATS["float64"].unit  # the oracle rounds, too


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
        fields = self.__dict__
        fields["value"], fields["error"], fields["precision"] = value, error, precision
        fields["magnitude"], fields["grain"], fields["terms"] = magnitude, grain, terms
        fields["node"], fields["addends"] = node, addends

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.value.shape

    @lazy
    def any_inexact(self) -> bool:
        """Whether any element is not known exactly."""
        return bool(np.count_nonzero(self.error))

    @lazy
    def all_inexact(self) -> bool:
        """Whether no element is known exactly."""
        return bool(np.count_nonzero(self.error) == self.error.size)

    @lazy
    def quanta(self) -> np.ndarray:
        """For each element the largest power of two that divides it; 0 where it is inexact."""
        if self.all_inexact:
            return np.zeros(self.shape)
        known = quanta(self.value)
        if self.any_inexact:
            np.copyto(known, 0.0, where=self.error != 0)
        return known

    @lazy
    def abs_value(self) -> np.ndarray:
        """|value|, the modulus of complex numbers."""
        return np.asarray(np.abs(self.value))

    @lazy
    def abs_sum(self) -> np.ndarray:
        """|value|, or |re| + |im|."""
        return _abs_sum(self.value) if self.value.dtype.kind == "c" else self.abs_value

    @property
    def flushed(self) -> Rounded:
        """The same, with subnormal elements in doubt: the backend may read them as zero."""
        return self._flushed or self

    @lazy
    def _flushed(self) -> Rounded | None:
        read_as_zero = (self.abs_sum < self.precision.normal) & (self.abs_sum > 0)
        if not any_true(read_as_zero):
            return None  # not `self`: a reference cycle would delay freeing the arrays
        error = np.where(read_as_zero, np.maximum(self.error, self.abs_sum), self.error)
        return Rounded(self.value, error, self.precision)

    @lazy
    def abs_bound(self) -> np.ndarray:
        """|value| + error."""
        return self.abs_value + self.error if self.any_inexact else self.abs_value

    def with_error(self, error: np.ndarray) -> Rounded:
        """The same values with another error."""
        return Rounded(
            self.value, error, self.precision, self.magnitude, self.grain, self.terms, self.node
        )

    @property
    def detached(self) -> Rounded:
        """The same values and errors without recorded operation and without Σ|terms|."""
        return self if self.node is None and self.magnitude is None else self._detached

    @lazy
    def _detached(self) -> Rounded:
        return Rounded(self.value, self.error, self.precision)

    @lazy
    def compact(self) -> Rounded:
        """Values and errors alone, in as little memory as they need."""
        error = self.error if self.any_inexact else np.broadcast_to(0.0, self.shape)
        return Rounded(self.value, error, self.precision)

    @lazy
    def decided(self) -> np.ndarray:
        """Which elements have a bound that excludes some answers.

        An exact NaN does. An element that may be NaN or a number has the error ∞.
        """
        return np.asarray(np.isfinite(self.error) & (~np.isnan(self.value) | (self.error == 0)))

    @lazy
    def common_quantum(self) -> float:
        """The largest power of two that divides every element; ∞ where all are 0."""
        return float(self.row_quanta.min(initial=np.inf))

    @lazy
    def row_quanta(self) -> np.ndarray:
        """The smallest of `quanta` along the last axis; ∞ where all elements are 0."""
        return np.asarray(np.minimum.reduce(self.quanta, axis=-1, initial=np.inf))

    def map(self, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
        """Apply a function that only moves elements (reshape, transpose, index)."""
        moved = Rounded(move(self.value), move(self.error), self.precision)
        if self.node is None:
            return moved

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            def scatter(array: np.ndarray) -> np.ndarray:
                full = np.zeros(self.shape, array.dtype)
                view = move(full)
                if np.may_share_memory(view, full):  # a view writes through
                    view[...] = array
                    return full
                positions = move(np.arange(full.size).reshape(self.shape)).reshape(-1)
                full.reshape(-1)[positions] = array.reshape(-1)
                return full

            return [move_cotangent(cotangent, scatter)]

        return with_pullback(moved, [self], pull)

    def __getitem__(self, index: Any) -> Rounded:
        return self.map(lambda array: np.asarray(array[index]))

    def select(self, index: Any) -> Rounded:
        """Select elements by index and keep their Σ|terms|, grain and addends."""
        node = None if self.node is None else self[index].node
        magnitude = None if self.magnitude is None else self.magnitude[index]
        addends = self.addends and tuple(addend.select(index) for addend in self.addends)
        return Rounded(
            self.value[index], self.error[index], self.precision, magnitude, self.grain,
            self.terms, node, addends,
        )  # fmt: skip

    def with_addends(self, *addends: Rounded) -> Rounded:
        """The same value, recorded as the sum of these stored addends."""
        broadcast_addends = (
            Rounded(self._broadcast(x.value), self._broadcast(x.error), x.precision)
            for x in addends
        )
        return Rounded(
            self.value, self.error, self.precision, self.magnitude, self.grain, self.terms,
            self.node, tuple(broadcast_addends),
        )  # fmt: skip

    def _broadcast(self, array: np.ndarray) -> np.ndarray:
        return array if array.shape == self.shape else np.broadcast_to(array, self.shape)

    def __add__(self, other: Rounded) -> Rounded:
        if self.precision.values_only:
            return _without_error(self.value + other.value, self.precision)
        value, propagated = self.value + other.value, self.error + other.error
        if self.precision.flushes:
            # Operands may be read, and the sum may be stored, as zero.
            propagated = self.flushed.error + other.flushed.error
            size = _abs_sum(value)
            propagated = propagated + np.where(size < self.precision.normal, size, 0.0)
        vague = self.all_inexact or other.all_inexact
        if not vague and any_true((propagated == 0) & (value != 0)):
            quanta = np.minimum(self.quanta, other.quanta)
            added = _round_unless_exact(
                value, propagated, self.abs_value + other.abs_value, quanta, self.precision
            )
        else:
            added = _round_result(value, propagated, self.precision)
        if self.node is None and other.node is None:
            return added

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            return [unbroadcast(cotangent, self.shape), unbroadcast(cotangent, other.shape)]

        return with_pullback(added, [self, other], pull)

    def __mul__(self, other: Rounded) -> Rounded:
        value, precision = self.value * other.value, self.precision
        if precision.values_only:
            return _without_error(value, precision)
        a, b = (self.flushed, other.flushed) if precision.flushes else (self, other)
        if b.any_inexact:
            propagated = a.abs_bound * b.error
            if a.any_inexact:
                propagated += a.error * b.abs_value
        elif a.any_inexact:
            propagated = a.error * b.abs_value
        else:
            propagated = np.zeros(value.shape)
        inexact = value != 0
        if not all_true(inexact):
            underflows = ~inexact & (self.value != 0) & (other.value != 0)
            if any_true(underflows):  # too small for the oracle's own format
                propagated = propagated + FORMATS["float64"].tiny * underflows
        if not all_true(propagated) and any_true((propagated == 0) & inexact):
            quanta = self.quanta * other.quanta
            inexact = inexact & ~(quanta >= precision.underflow)
            propagated = propagated + precision.underflow * inexact
            product = _round_unless_exact(value, propagated, np.abs(value), quanta, precision)
        else:
            propagated += (
                precision.underflow if all_true(inexact) else precision.underflow * inexact
            )
            product = _round_result(value, propagated, precision)
        if self.node is None and other.node is None:
            return product

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            return [
                unbroadcast(cotangent * other.detached, self.shape),
                unbroadcast(cotangent * self.detached, other.shape),
            ]

        return with_pullback(product, [self, other], pull)

    def __neg__(self) -> Rounded:
        negative = Rounded(
            -self.value, self.error, self.precision, self.magnitude, self.grain, self.terms
        )
        return with_pullback(negative, [self], lambda cotangent: [-cotangent])

    def __sub__(self, other: Rounded) -> Rounded:
        return self + -other

    def __truediv__(self, other: Rounded) -> Rounded:
        """The quotient; exact where the divisor is a power of two and the format has the result.

        (a + e)/(b + f) − a/b = (e − f·a/b)/(b + f), at most (|e| + |f·a/b|)/(|b| − |f|). Any other
        quotient may be computed by a reciprocal, even if the format has it. A quotient by a number
        that may be 0 has the error ∞: not even the sign of a 0 is known.
        """
        precision = self.precision
        if precision.values_only:
            return _without_error(np.asarray(self.value / other.value), precision)
        if precision.complex:
            raise TypeError("quotients of complex numbers have no bound here")
        a, b = (self.flushed, other.flushed) if precision.flushes else (self, other)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            value = np.asarray(a.value / b.value)
            smallest_divisor, size = b.abs_value - b.error, np.abs(value)
            inherited = np.asarray((a.error + size * b.error) / smallest_divisor)
            inherited = np.where(smallest_divisor > 0, inherited, np.inf)
            relative = 2 * precision.ulp("divide") * precision.unit + ORACLE_UNIT
            error = inherited + relative * (size + inherited)
            error += precision.underflow + precision.absolute_error("divide")
            error = np.where(size + error <= precision.largest, error, np.inf)
            certain = (a.error == 0) & (b.error == 0)
            if any_true(certain):
                exact = a.value == 0
                if precision.bits and precision.has_standard_accuracy("divide"):
                    power_of_two = np.frexp(b.abs_value)[0] == 0.5
                    # Not the quotient's own quanta: the quotient may have lost bits in float64.
                    quantum = quanta(a.value) / b.abs_value
                    fits = (size <= np.ldexp(quantum, precision.bits)) & (size <= precision.largest)
                    exact = exact | (power_of_two & fits & (quantum >= precision.underflow))
                exact = exact & (smallest_divisor > 0) & np.isfinite(a.value) & np.isfinite(b.value)
                infinite = np.isinf(a.value) & (b.value != 0) | np.isinf(b.value)
                exact = exact | (infinite & ~np.isnan(a.value) & ~np.isnan(b.value))
                np.copyto(error, 0.0, where=certain & (exact | np.isnan(value)))
        quotient = Rounded(value, error, precision)
        if self.node is None and other.node is None:
            return quotient

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            # −(c·q)/b; (c/b)·q and −c·a/(b·b) round three times as well.
            by_divisor = -((cotangent * quotient) / other.detached)
            return [
                unbroadcast(cotangent / other.detached, self.shape),
                unbroadcast(by_divisor, other.shape),
            ]

        return with_pullback(quotient, [self, other], pull)


def with_pullback(
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


def move_cotangent(cotangent: Rounded, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
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
    copies = math.prod(cotangent.shape) // max(math.prod(shape), 1)
    total = partial(sum_copies, shape=shape)
    return multilinear(total, cotangent, terms=max(copies, 1))


def sum_copies(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an operand of `shape` was broadcast."""
    extra = array.ndim - len(shape)
    axes = [*range(extra), *(extra + k for k, n in enumerate(shape) if n != array.shape[extra + k])]
    return np.asarray(array.sum(axis=tuple(axes)).reshape(shape))


def exact_operand(values: np.ndarray, precision: Precision) -> Rounded:
    """Exact operands; the only error is that of reading them, if the backend declares one."""
    error = np.zeros(values.shape)
    if precision.operand_unit:
        size = _abs_sum(values)
        reading_error = precision.operand_unit * size
        # The largest numbers overflow when they are rounded up.
        reading_error = np.where(size + reading_error > precision.largest, np.inf, reading_error)
        error = np.where(np.isfinite(size), reading_error, 0.0)
    return Rounded(values, error, precision)


def _without_error(value: np.ndarray, precision: Precision) -> Rounded:
    return Rounded(value, np.zeros(value.shape), precision)


def _round_result(value: np.ndarray, propagated: np.ndarray, precision: Precision) -> Rounded:
    """One operation's result: its inherited error plus the rounding of storing it."""
    largest = np.abs(value) + propagated
    error = np.asarray((precision.unit + ORACLE_UNIT) * largest)
    error += propagated
    overflows = largest + error > precision.largest
    if any_true(overflows):
        np.copyto(error, np.inf, where=overflows)
    return Rounded(value, error, precision)


def _round_unless_exact(
    value: np.ndarray,
    propagated: np.ndarray,
    magnitude: np.ndarray,
    quanta: np.ndarray,
    precision: Precision,
) -> Rounded:
    """As `_round_result`, but exact where no error is inherited and the format holds all bits."""
    exact = magnitude <= np.ldexp(quanta, precision.bits) if precision.bits else quanta == np.inf
    # Beyond the largest number even an exact result overflows.
    exact &= (propagated == 0) & (np.abs(value) <= precision.largest)
    if all_true(exact):
        return Rounded(value, np.zeros(value.shape), precision)
    result = _round_result(value, propagated, precision)
    np.copyto(result.error, 0.0, where=exact)
    return result


def multilinear(
    function: Callable[..., np.ndarray],
    *operands: Rounded,
    addend: Rounded | None = None,
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
        addend: one more term for every sum (a bias), broadcast against the result.
        terms: largest number of products in one sum.
        wide: half-precision formats accumulate the sum in float32 and round it once (Linear and the
            forward convolution, docs/design.md); otherwise partial sums may be stored in the format
            itself.
        wide_adjoints: the same for the gradients; None = as `wide`.
        adjoints: for each operand the function (cotangent, *other operands) → its cotangent,
            multilinear with coefficients ≥ 0 as well.
        grain: operands → for each sum a power of two that divides its products, 0 or NaN = unknown;
            None = one for all sums, the product of the operands' `common_quantum`.
    """
    original_operands, original_addend, precision = operands, addend, operands[0].precision
    if precision.values_only:
        value = function(*[operand.value for operand in operands])
        return _without_error(value if addend is None else value + addend.value, precision)
    if precision.flushes:
        operands = tuple(operand.flushed for operand in operands)
        addend = None if addend is None else addend.flushed
    value = function(*[operand.value for operand in operands])
    magnitude = function(*[operand.abs_sum for operand in operands])
    inexact = any(operand.any_inexact for operand in operands)
    inherited: np.ndarray | None = None
    if inexact:
        inherited, magnitude = _inherited_error(function, operands, magnitude, terms)
    # If every element of an operand is inexact, so is every product.
    per_sum = grain is not None and not (
        inexact and any(x.any_inexact and x.all_inexact for x in operands)
    )
    products: Any = 0.0 if inexact else math.prod([operand.common_quantum for operand in operands])
    if per_sum and grain is not None:
        products = grain(*operands)
    in_range = products >= precision.underflow
    any_in_range, all_in_range = (
        (any_true(in_range), all_true(in_range)) if per_sum else (in_range, in_range)
    )
    quantum = products
    if addend is not None:
        value = value + addend.value
        magnitude = magnitude + addend.abs_sum
        if addend.any_inexact:
            magnitude = magnitude + addend.error
            inherited = addend.error if inherited is None else inherited + addend.error
        if any_in_range or not inexact:
            quantum = np.minimum(
                products, addend.common_quantum if grain is None else addend.quanta
            )
        terms += 1
    # Three real multiplications may replace a complex one (docs/design.md, Exact regime).
    factor = terms + 4 if precision.complex else terms
    common_grain = 0.0 if inexact else float(np.min(quantum, initial=np.inf))
    exact = magnitude == 0
    if precision.bits and any_in_range:
        fits = magnitude <= np.ldexp(quantum, precision.bits)
        exact = exact | (fits & (quantum >= precision.underflow))
    exact_count = int(np.count_nonzero(exact))
    if exact_count == exact.size:
        error = np.zeros(value.shape)
    else:
        unit = precision.wide_unit if wide else precision.sum_unit
        # Storing the sum rounds once more, unless it was accumulated in the format itself.
        store_unit = precision.unit if precision.is_half or unit != precision.unit else 0.0
        error = np.asarray(factor * (unit + ORACLE_UNIT) * magnitude)
        if inherited is not None:
            error += inherited
        if not all_in_range:
            # A product of two factors that underflows may still be multiplied by the third.
            largest = 1.0
            if len(operands) > 2:
                largest = max(float(operand.abs_sum.max(initial=1.0)) for operand in operands)
            underflow_error = terms * precision.underflow * largest
            error += np.where(in_range, 0.0, underflow_error) if per_sum else underflow_error
        # At the end of float64's own range even 0 · stored is NaN: nothing is known there.
        if store_unit or precision.largest == FORMATS["float64"].largest:
            store_error = np.abs(value) + error
            store_error *= store_unit
            error += store_error
        if exact_count:
            np.copyto(error, 0.0, where=exact)
    # Beyond the largest number a partial sum may overflow in one order and not in another.
    overflows = magnitude > precision.largest
    if any_true(overflows):
        np.copyto(error, np.inf, where=overflows)
    result = Rounded(value, error, precision, magnitude, common_grain, factor)
    if all(operand.node is None for operand in original_operands) and (
        original_addend is None or original_addend.node is None
    ):
        return result

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        cotangents: list[Rounded | None] = []
        for k, adjoint in enumerate(adjoints):
            if original_operands[k].node is None:
                cotangents.append(None)
                continue
            others = [other.detached for j, other in enumerate(original_operands) if j != k]
            adjoint_terms = _max_terms(adjoint, cotangent.shape, *(other.shape for other in others))
            adjoint_terms += len(others) - 1
            cotangents.append(
                multilinear(adjoint, cotangent, *others, terms=adjoint_terms, wide=wide_gradient)
            )
        return cotangents + (
            [] if original_addend is None else [unbroadcast(cotangent, original_addend.shape)]
        )

    wide_gradient = wide if wide_adjoints is None else wide_adjoints
    return with_pullback(
        result, [*original_operands, *([] if original_addend is None else [original_addend])], pull
    )


def _inherited_error(
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
    if sum(x.any_inexact for x in operands) > 1:
        largest = function(*[x.abs_sum + x.error if x.any_inexact else x.abs_sum for x in operands])
        return largest - magnitude, largest
    inherited = function(*[x.error if x.any_inexact else x.abs_sum for x in operands])
    # 0 times an infinite number is NaN: nothing is known there.
    inherited = np.where(np.isinf(magnitude), np.inf, inherited)
    # Each product and each partial sum rounds here.
    return inherited * (1 + (terms + len(operands)) * ORACLE_UNIT), magnitude + inherited


@lru_cache(maxsize=256)
def _max_terms(adjoint: Callable[..., np.ndarray], *shapes: tuple[int, ...]) -> int:
    """The largest number of products in one sum, on operands of these shapes."""
    return int(adjoint(*map(np.ones, shapes)).max(initial=1.0))


def _abs_sum(values: np.ndarray) -> np.ndarray:
    """|x|, or |re| + |im|."""
    if values.dtype.kind == "c":
        return np.asarray(np.abs(values.real) + np.abs(values.imag))
    return np.asarray(np.abs(values))


def _mask_cotangent(cotangent: Rounded, mask: np.ndarray) -> Rounded:
    return move_cotangent(cotangent, lambda array: np.where(mask, array, 0.0))


def choose(condition: np.ndarray, a: Rounded, b: Rounded) -> Rounded:
    """`numpy.where` on values and errors."""
    selected = Rounded(
        np.where(condition, a.value, b.value), np.where(condition, a.error, b.error), a.precision
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        masks = (condition, np.logical_not(condition))
        return [_mask_cotangent(cotangent, mask) for mask in masks]

    return with_pullback(selected, [a, b], pull)


def _slice_cotangent(
    cotangent: Rounded, axis: int, start: int, width: int, shape: tuple[int, ...]
) -> Rounded:
    piece = range(start, start + width)
    return move_cotangent(cotangent, lambda array: array.take(piece, axis=axis).reshape(shape))


def join(parts: list[Rounded], axis: int, *, new_axis: bool = False) -> Rounded:
    """`numpy.concatenate`, or `numpy.stack` along a new axis."""
    if len(parts) == 1 and parts[0].node is None:
        return parts[0].map(lambda array: np.expand_dims(array, axis) if new_axis else array)
    combine = np.stack if new_axis else np.concatenate
    joined = Rounded(
        combine([part.value for part in parts], axis=axis),
        combine([part.error for part in parts], axis=axis),
        parts[0].precision,
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        start, cotangents = 0, list[Rounded | None]()
        for part in parts:
            width = 1 if new_axis else part.shape[axis]
            cotangents.append(_slice_cotangent(cotangent, axis, start, width, part.shape))
            start += width
        return cotangents

    return with_pullback(joined, parts, pull)
