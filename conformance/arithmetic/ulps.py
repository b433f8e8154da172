"""Errors in units in the last place."""

from __future__ import annotations

import numpy as np

from conformance.model.formats import format_of
from conformance.model.max_error import Farthest


def farthest(
    at: np.ndarray, got: np.ndarray, wanted: np.ndarray, dtype: str, what: str = "output"
) -> Farthest | None:
    """The finite answer with the largest error in units in the last place; None if there is none.

    Args:
        at: the function's operands.
        got, wanted: actual and right answers, of the same shape.
        what: name of the array.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        ulps = np.abs(got - wanted) / unit_in_the_last_place(wanted, dtype)
    ulps = np.where(np.isfinite(ulps), ulps, -1.0)
    if not ulps.size or ulps.max() < 0:
        return None
    where = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
    error, number, answer, right = (float(x[where]) for x in (ulps, at, got, wanted))
    return Farthest(error, number, answer, right, what)


def unit_in_the_last_place(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The distance between neighbouring numbers of a dtype, at least its smallest number.

    Args:
        numbers: float64 numbers at which the distance is wanted.
        dtype: torch's name of a floating-point dtype.
    """
    form = format_of(dtype)
    _, exponent = np.frexp(np.where(np.isfinite(numbers), numbers, 0.0))
    units = np.where(numbers == 0, 0.0, np.ldexp(form.unit, exponent))
    return np.asarray(np.maximum(units, form.tiny))
