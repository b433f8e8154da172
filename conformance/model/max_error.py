"""The largest error of a function of single numbers, in units in the last place, and where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Farthest:
    """The answer with the largest error.

    Args:
        ulps: its error, in units in the last place of the right number in the dtype. Correct
            rounding errs by half a unit at most.
        at: the input at which it occurs.
        got, wanted: the answer, and the right number before rounding.
        what: the array that holds it: `"output"`, `"gradient of input"`.
    """

    ulps: float
    at: float
    got: float
    wanted: float
    what: str = "output"


def larger_error(a: Farthest | None, b: Farthest | None) -> Farthest | None:
    """Return the answer with the larger error; None only if both are None."""
    if a is None or b is None:
        return a if b is None else b
    return b if b.ulps > a.ulps else a
