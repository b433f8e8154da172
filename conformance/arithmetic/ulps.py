"""Errors in units in the last place."""

from __future__ import annotations

import numpy as np

from conformance.model.formats import format_of
from conformance.model.max_error import Farthest


def find_farthest(
    points: np.ndarray,
    actual: np.ndarray,
    expected: np.ndarray,
    dtype: str,
    array_name: str = "output",
) -> Farthest | None:
    """The finite answer with the largest error in units in the last place; None if there is none.

    Args:
        points: the function's operands.
        actual, expected: actual and right answers, of the same shape.
        array_name: how the result names the array of the answers.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        ulps = np.abs(actual - expected) / unit_in_the_last_place(expected, dtype)
    ulps = np.where(np.isfinite(ulps), ulps, -1.0)
    if not ulps.size or ulps.max() < 0:
        return None
    where = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
    error, number, answer, right = (float(x[where]) for x in (ulps, points, actual, expected))
    return Farthest(error, number, answer, right, array_name)


def unit_in_the_last_place(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The distance between neighbouring numbers of a dtype, at least its smallest number.

    Args:
        numbers: float64 numbers at which the distance is wanted.
        dtype: torch's name of a floating-point dtype.
    """
    target = format_of(dtype)
    _, exponent = np.frexp(np.where(np.isfinite(numbers), numbers, 0.0))
    units = np.where(numbers == 0, 0.0, np.ldexp(target.unit, exponent))
    return np.asarray(np.maximum(units, target.tiny))
