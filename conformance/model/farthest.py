"""The largest error of a function of single numbers, in units in the last place, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conformance.model.formats import format_of


@dataclass(frozen=True)
class Farthest:
    """The answer that is farthest from the right one.

    Args:
        ulps: its error, in units in the last place of the right number in the dtype; half of one
            is what rounding correctly costs at most.
        at: the number that the function is given.
        got, wanted: its answer, and the right number before rounding.
        what: of which array: `"output"`, `"gradient of input"`.
    """

    ulps: float
    at: float
    got: float
    wanted: float
    what: str = "output"


def farthest(
    at: np.ndarray, got: np.ndarray, wanted: np.ndarray, dtype: str, what: str = "output"
) -> Farthest | None:
    """The farthest of finite answers; None where there is none.

    Args:
        at: the numbers that a function is given.
        got, wanted: answers, and what is right, of the same shape.
        dtype: torch's name of the dtype.
        what: of which array.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        ulps = np.abs(got - wanted) / unit_in_the_last_place(wanted, dtype)
    ulps = np.where(np.isfinite(ulps), ulps, -1.0)
    if not ulps.size or ulps.max() < 0:
        return None
    where = np.unravel_index(int(np.argmax(ulps)), ulps.shape)
    return Farthest(*(float(x[where]) for x in (ulps, at, got, wanted)), what)


def unit_in_the_last_place(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """The distance between numbers of a dtype around given ones, at least its smallest number.

    Args:
        numbers: float64.
        dtype: torch's name of a floating-point dtype.
    """
    form = format_of(dtype)
    _, exponent = np.frexp(np.where(np.isfinite(numbers), numbers, 0.0))
    units = np.where(numbers == 0, 0.0, np.ldexp(form.unit, exponent))
    return np.asarray(np.maximum(units, form.tiny))


def farther(a: Farthest | None, b: Farthest | None) -> Farthest | None:
    """The one with the larger error."""
    if a is None or b is None:
        return a if b is None else b
    return b if b.ulps > a.ulps else a
