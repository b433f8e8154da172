"""The largest error of a function of single numbers, in units in the last place, and where."""

from __future__ import annotations

from dataclasses import dataclass


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


def farther(a: Farthest | None, b: Farthest | None) -> Farthest | None:
    """The one with the larger error."""
    if a is None or b is None:
        return a if b is None else b
    return b if b.ulps > a.ulps else a
