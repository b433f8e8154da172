"""Where sums and products are exact, by the largest power of two that divides each number."""

from __future__ import annotations

import numpy as np

from conformance.arithmetic.precision import Precision

_SIGNIFICAND = np.array(2**52 - 1)  # the bits of a float64 that hold it
_ONE = np.array(1)  # arrays: a Python int is made one at each use


def any_true(mask: np.ndarray) -> bool:
    """`mask.any()`, which on small arrays takes four times as long."""
    return bool(np.count_nonzero(mask))


def all_true(mask: np.ndarray) -> bool:
    """`mask.all()`, which on small arrays takes four times as long."""
    return bool(np.count_nonzero(mask) == mask.size)


def quanta(values: np.ndarray) -> np.ndarray:
    """For each element the largest power of two that divides it; ∞ for 0."""
    if values.dtype.kind == "c":
        return np.asarray(np.minimum(quanta(values.real), quanta(values.imag)))
    size = np.abs(values)
    bits = size.view(np.int64)
    # Clearing the lowest set bit of the significand subtracts one quantum; a power of two has none.
    cleared = bits - _ONE
    cleared &= bits
    quantum = np.asarray(size - cleared.view(np.float64))
    powers = bits & _SIGNIFICAND == 0
    if any_true(powers):
        np.copyto(quantum, size, where=powers)
        np.copyto(quantum, np.inf, where=size == 0)
    return quantum


def sum_is_exact(a: np.ndarray, b: np.ndarray, precision: Precision) -> np.ndarray:
    """Where a + b of exact numbers is exact as a `Rounded`."""
    value = a + b
    if not precision.bits:
        return np.asarray(value == 0)
    limit = np.ldexp(np.minimum(quanta(a), quanta(b)), precision.bits)
    exact = (np.abs(a) + np.abs(b) <= limit) & (np.abs(value) <= precision.largest)
    return np.asarray(exact | (value == 0))


def product_is_exact(a: np.ndarray, b: np.ndarray, precision: Precision) -> np.ndarray:
    """Where a·b of exact numbers is exact as a `Rounded`."""
    value, quantum = a * b, quanta(a) * quanta(b)
    if not precision.bits:
        return np.asarray(value == 0)
    size = np.abs(value)
    exact = (size <= np.ldexp(quantum, precision.bits)) & (size <= precision.largest)
    return np.asarray((exact & (quantum >= precision.underflow)) | (value == 0))
