"""The evidence of a failure in a backend's numbers, as code that a script can run again."""

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
        lines: Python that sets `failed` from the names below. NumPy is `np`; `near(number, pairs)`
            compares a number with its right values, each paired with its bound.
        got: name → an array that the backend returned or that was computed from one, and the index
            of the element; None = the whole array.
        known: name → literal numbers.
        state: the layer's state before the last call, if earlier calls changed it.
        whole: a proof about whole arrays, for calls that draw random numbers.
        others: proofs for further wrong elements.
        given: names in `got` that may be inputs of the backend; a script writes these as literals.
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
    """Show that an element is further from each of its right values than the bound allows.

    Args:
        got: the backend's array.
        ways: pairs of arrays: right values, and their bounds.
    """
    lines = ("failed = not near(got, wanted)",)
    known = {"wanted": [(value[where].item(), float(bound[where])) for value, bound in ways]}
    place = ", ".join(map(str, where)) or "()"
    shown = f'print("at [{place}]", got[{place}], [value[{place}] for value, _ in wanted])'
    every = (shown, "failed = not near(got, wanted).all()")
    whole = Proof(every, {"got": (got, None)}, {"wanted": [tuple(way) for way in ways]})
    return Proof(lines, {"got": (got, where)}, known, whole=whole)


def unlike(got: np.ndarray, wanted: np.ndarray, where: Index, bound: float | None) -> Proof:
    """Show that an element differs between two answers.

    Args:
        bound: the largest difference allowed; None = the bits must be equal.
    """
    places = {"got": (got, where), "wanted": (wanted, where)}
    if bound is None:
        return Proof(("failed = str(got) != str(wanted)",), places, given=("wanted",))
    return Proof(("failed = not near(got, [(wanted, bound)])",), places, {"bound": bound})


def shaped(got: np.ndarray, wanted: tuple[int, ...]) -> Proof:
    """Show that an array does not have the documented shape."""
    lines = ('print("shape", got.shape)', "failed = got.shape != wanted")
    return Proof(lines, {"got": (got, None)}, {"wanted": wanted})
