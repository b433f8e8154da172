"""What of a failure shows in the numbers that a backend gave, so that a script can look again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Proof:
    """A comparison that failed, as code.

    Args:
        lines: Python that makes `failed` from the names below, with NumPy as `np` and with `near`,
            of a number and its right values with their bounds.
        got: name → an array that the backend gave, or one made of it, and the element that is
            meant; None = the whole array.
        known: name → literal numbers.
        state: what the layer held before the last call, where that is what calls made of it.
        whole: the same of whole arrays, for calls that draw random numbers.
        others: the same of further elements that are wrong.
        given: names of `got` that may be what the backend was given, and then are literal.
        refusals: exceptions that refuse an invalid call.
    """

    lines: tuple[str, ...]
    got: Mapping[str, tuple[np.ndarray, Index | None]] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    whole: Proof | None = None
    others: tuple[Proof, ...] = ()
    given: tuple[str, ...] = ()
    refusals: tuple[type[BaseException], ...] = ()


def beyond(got: np.ndarray, where: Index, ways: Sequence[tuple[np.ndarray, np.ndarray]]) -> Proof:
    """An element that is further from each of its right values than the bound.

    Args:
        got: the array.
        ways: arrays of right values, each with its bounds.
    """
    lines = ("failed = not near(got, wanted)",)
    known = {"wanted": [(value[where].item(), float(bound[where])) for value, bound in ways]}
    place = ", ".join(map(str, where)) or "()"
    shown = f'print("at [{place}]", got[{place}], [value[{place}] for value, _ in wanted])'
    every = (shown, "failed = not near(got, wanted).all()")
    whole = Proof(every, {"got": (got, None)}, {"wanted": [tuple(way) for way in ways]})
    return Proof(lines, {"got": (got, where)}, known, whole=whole)


def unlike(got: np.ndarray, wanted: np.ndarray, where: Index, bound: float | None) -> Proof:
    """An element of one answer that is not that of another.

    Args:
        bound: how far apart they may be; None = they must be the same bits.
    """
    places = {"got": (got, where), "wanted": (wanted, where)}
    if bound is None:
        return Proof(("failed = str(got) != str(wanted)",), places, given=("wanted",))
    return Proof(("failed = not near(got, [(wanted, bound)])",), places, {"bound": bound})


def shaped(got: np.ndarray, wanted: tuple[int, ...]) -> Proof:
    """An array of another shape than the documented one."""
    lines = ('print("shape", got.shape)', "failed = got.shape != wanted")
    return Proof(lines, {"got": (got, None)}, {"wanted": wanted})
