"""Arithmetic that carries its own error bound.

A `Rounded` is (value, error): the exact result computed in float64, and how far a correct
floating-point implementation may be from it, after the running error analysis of Higham,
*Accuracy and Stability of Numerical Algorithms* (2002), §3.3. A sum of n terms contributes
n·u·Σ|terms| in whatever order it is taken (Jeannerod and Rump, *Improved error bounds for inner
products in floating-point arithmetic*, 2013: no second-order term).

Where every term is an integer multiple of one power of two q and Σ|terms| ≤ 2^p·q, no partial sum
in any order rounds at all: the error is 0 and the check asks for equality.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..formats import FORMATS
from .precision import Precision

_OWN = FORMATS["float64"].unit  # the oracle rounds, too


@dataclass(frozen=True, eq=False)
class Rounded:
    """Values and how far a correct implementation may be from them.

    Args:
        value: float64 or complex128 array.
        error: float64 array of the same shape, ≥ 0 (infinite = anything goes).
        precision: how the implementation rounds.
    """

    value: np.ndarray
    error: np.ndarray
    precision: Precision

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.value.shape

    def map(self, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
        """Apply a function that only moves elements (reshape, transpose, index)."""
        return Rounded(move(self.value), move(self.error), self.precision)

    def __getitem__(self, index: Any) -> Rounded:
        return Rounded(self.value[index], self.error[index], self.precision)

    def __add__(self, other: Rounded) -> Rounded:
        return _rounded(
            self.value + other.value,
            self.error + other.error,
            np.abs(self.value) + np.abs(other.value),
            np.minimum(_quanta(self), _quanta(other)),
            self.precision,
        )

    def __mul__(self, other: Rounded) -> Rounded:
        a, b = np.abs(self.value), np.abs(other.value)
        propagated = a * other.error + self.error * b + self.error * other.error
        value = self.value * other.value
        quanta = _quanta(self) * _quanta(other)
        underflow = np.where(
            (value == 0) | (quanta >= self.precision.underflow), 0.0, self.precision.underflow
        )
        return _rounded(value, propagated + underflow, np.abs(value), quanta, self.precision)


def exactly(values: np.ndarray, precision: Precision) -> Rounded:
    """Operands as given: no error."""
    return Rounded(values, np.zeros(values.shape), precision)


def quanta(values: np.ndarray) -> np.ndarray:
    """For each element the largest power of two of which it is a multiple; ∞ for 0."""
    if np.iscomplexobj(values):
        return np.asarray(np.minimum(quanta(values.real), quanta(values.imag)))
    mantissa, exponent = np.frexp(values)
    integer = np.ldexp(mantissa, 53)
    integer = np.where(np.isfinite(integer), integer, 1.0).astype(np.int64)
    lowest = np.frexp((integer & -integer).astype(np.float64))[1] - 1
    return np.asarray(np.where(integer == 0, np.inf, np.ldexp(1.0, exponent - 53 + lowest)))


def _quanta(operand: Rounded) -> np.ndarray:
    """`quanta`, but 0 where the implementation's operand is not known exactly."""
    return np.where(operand.error == 0, quanta(operand.value), 0.0)


def _rounded(
    value: np.ndarray,
    propagated: np.ndarray,
    magnitude: np.ndarray,
    quanta: np.ndarray,
    precision: Precision,
) -> Rounded:
    """One operation's result: the error it inherits and the rounding of storing it."""
    with np.errstate(over="ignore"):
        exact = (
            magnitude <= np.ldexp(quanta, precision.bits) if precision.bits else quanta == np.inf
        )
    reach = np.abs(value) + propagated
    error = np.where(exact & (propagated == 0), 0.0, propagated + (precision.unit + _OWN) * reach)
    return Rounded(value, np.where(reach + error > precision.largest, np.inf, error), precision)


def multilinear(
    function: Callable[..., np.ndarray],
    *operands: Rounded,
    plus: Rounded | None = None,
    terms: int,
    wide: bool = False,
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
    """
    precision = operands[0].precision
    if precision.flushes:
        operands = tuple(_flushed(operand) for operand in operands)
        plus = None if plus is None else _flushed(plus)
    value = function(*(operand.value for operand in operands))
    inexact = any(operand.error.any() for operand in operands)
    magnitude = function(*(_magnitude(operand.value) for operand in operands))
    propagated: np.ndarray = np.zeros(value.shape)
    if inexact:
        reach = function(*(_magnitude(operand.value) + operand.error for operand in operands))
        propagated, magnitude = reach - magnitude, reach
    quantum = 0.0 if inexact else float(np.prod([_least(operand) for operand in operands]))
    product_quantum = quantum
    if plus is not None:
        value = value + plus.value
        propagated = propagated + plus.error
        magnitude = magnitude + _magnitude(plus.value) + plus.error
        quantum = min(quantum, _least(plus) if not plus.error.any() else 0.0)
        terms += 1
    # Three real multiplications may do a complex one (DESIGN §3.6).
    factor = terms + 4 if precision.complex else terms
    unit = precision.wide_unit if wide else precision.sum_unit
    # Storing the sum rounds once more, unless it was accumulated in the format itself.
    half = precision.dtype in ("bfloat16", "float16")
    final = precision.unit if half or unit != precision.unit else 0.0
    underflow = 0.0
    if product_quantum < precision.underflow:
        # A product of two that underflows may still be multiplied by the third.
        largest = max(float(_magnitude(operand.value).max(initial=1.0)) for operand in operands)
        underflow = terms * precision.underflow * (largest if len(operands) > 2 else 1.0)
    propagated = propagated + factor * (unit + _OWN) * magnitude + underflow
    propagated = propagated + final * (np.abs(value) + propagated)
    with np.errstate(over="ignore"):
        exact = magnitude <= np.ldexp(quantum, precision.bits) if precision.bits else magnitude == 0
    if quantum < precision.underflow:
        exact = exact & (magnitude == 0)
    error = np.where(exact, 0.0, propagated)
    # Beyond the largest number a partial sum may overflow in one order and not in another.
    return Rounded(value, np.where(magnitude > precision.largest, np.inf, error), precision)


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


def _least(operand: Rounded) -> float:
    return float(quanta(operand.value).min(initial=np.inf))


def tanh(x: Rounded) -> Rounded:
    """Hyperbolic tangent; its derivative 1/cosh² is largest at the point nearest to 0."""
    precision = x.precision
    value = np.tanh(x.value)
    decay = np.exp(-2.0 * np.maximum(np.abs(x.value) - x.error, 0.0))
    propagated = np.minimum(4.0 * decay / (1.0 + decay) ** 2 * x.error, 2.0)
    own = 2 * precision.tanh_ulp * precision.unit * (np.abs(value) + propagated)
    return _activated(x, value, propagated + own + precision.underflow)


def sigmoid(x: Rounded) -> Rounded:
    """Logistic function 1/(1 + e⁻ˣ); its derivative σ(1 − σ) is largest nearest to 0."""
    precision = x.precision
    with np.errstate(over="ignore"):
        value = 1.0 / (1.0 + np.exp(-x.value))
    decay = np.exp(-np.maximum(np.abs(x.value) - x.error, 0.0))
    propagated = np.minimum(decay / (1.0 + decay) ** 2 * x.error, 1.0)
    # Vector code scales by 2^k, k the integer nearest to x/ln 2, and returns 0 where 2^k would not
    # be a normal number: for results up to √2 times the smallest one.
    vanishing = np.sqrt(2.0) * precision.normal
    own = 2 * precision.sigmoid_ulp * precision.unit * (value + propagated) + vanishing
    return _activated(x, value, propagated + own)


def _activated(x: Rounded, value: np.ndarray, error: np.ndarray) -> Rounded:
    """An activation is exact at 0, and anything at all where its operand may be NaN or infinite."""
    error = np.where((x.value == 0) & (x.error == 0), 0.0, error)
    return Rounded(value, np.where(np.isfinite(x.error), error, np.inf), x.precision)


def relu(x: Rounded) -> Rounded:
    """max(x, 0): exact, and never steeper than 1."""
    error = np.where(x.value + x.error <= 0, 0.0, x.error)
    return Rounded(np.maximum(x.value, 0.0), error, x.precision)


def blend(z: Rounded, n: Rounded, h: Rounded) -> Rounded:
    """(1 − z)·n + z·h as one operation: z's error acts through h − n only (DESIGN §3.2).

    The rounding term covers both usual forms, (1 − z)·n + z·h and n + z·(h − n).
    """
    unit = z.precision.unit + _OWN
    value = (1.0 - z.value) * n.value + z.value * h.value
    reach_z, reach_rest = np.abs(z.value) + z.error, np.abs(1.0 - z.value) + z.error
    reach_n, reach_h = np.abs(n.value) + n.error, np.abs(h.value) + h.error
    propagated = (
        z.error * (np.abs(h.value - n.value) + h.error + n.error)
        + np.abs(1.0 - z.value) * n.error
        + np.abs(z.value) * h.error
    )
    steps = 2 * reach_z * (reach_n + reach_h) + 2 * reach_rest * reach_n
    rounding = unit * (steps + np.abs(value) + propagated) + 3 * z.precision.underflow
    held = (z.value == 1) & (z.error == 0)
    error = np.where(
        held & (h.error == 0) & (n.value == 0) & (n.error == 0), 0.0, propagated + rounding
    )
    return Rounded(value, error, z.precision)


def choose(condition: np.ndarray, a: Rounded, b: Rounded) -> Rounded:
    """`numpy.where` on values and errors."""
    return Rounded(
        np.where(condition, a.value, b.value), np.where(condition, a.error, b.error), a.precision
    )


def join(parts: list[Rounded], axis: int, *, new: bool = False) -> Rounded:
    """`numpy.concatenate`, or `numpy.stack` along a new axis."""
    gather = np.stack if new else np.concatenate
    return Rounded(
        gather([part.value for part in parts], axis=axis),
        gather([part.error for part in parts], axis=axis),
        parts[0].precision,
    )
