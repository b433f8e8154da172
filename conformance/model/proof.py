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
        whole_array_proof: a proof about whole arrays, for calls that draw random numbers.
        others: proofs for further wrong elements.
        possible_inputs: names in `got` that may be inputs of the backend; a script writes these as
            literals.
        refusals: exceptions that refuse an invalid call.
        computed: an array may be computed from outputs, and equal another one by chance, so no
            array may be recognised by its numbers.
    """

    lines: tuple[str, ...]
    got: Mapping[str, tuple[np.ndarray, Index | None]] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    whole_array_proof: Proof | None = None
    others: tuple[Proof, ...] = ()
    possible_inputs: tuple[str, ...] = ()
    refusals: tuple[type[BaseException], ...] = ()
    computed: bool = False


def out_of_bounds_proof(
    outputs: np.ndarray, index: Index, alternatives: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Proof:
    """Show that an element is further from each of its right values than the bound allows.

    Args:
        outputs: the backend's array.
        alternatives: pairs of arrays: right values, and their bounds.
    """
    lines = ("failed = not near(got, wanted)",)
    known = {
        "wanted": [(value[index].item(), float(bound[index])) for value, bound in alternatives]
    }
    index_text = ", ".join(map(str, index)) or "()"
    print_line = (
        f'print("at [{index_text}]", got[{index_text}], '
        f"[value[{index_text}] for value, _ in wanted])"
    )
    all_elements = (print_line, "failed = not near(got, wanted).all()")
    whole = Proof(
        all_elements, {"got": (outputs, None)}, {"wanted": [tuple(way) for way in alternatives]}
    )
    return Proof(lines, {"got": (outputs, index)}, known, whole_array_proof=whole)


def difference_proof(
    got: np.ndarray, wanted: np.ndarray, index: Index, bound: float | None
) -> Proof:
    """Show that an element differs between two answers.

    Args:
        bound: the largest difference allowed; None = the bits must be equal.
    """
    elements = {"got": (got, index), "wanted": (wanted, index)}
    if bound is None:
        return Proof(("failed = str(got) != str(wanted)",), elements, possible_inputs=("wanted",))
    return Proof(("failed = not near(got, [(wanted, bound)])",), elements, {"bound": bound})


def shape_proof(got: np.ndarray, wanted: tuple[int, ...]) -> Proof:
    """Show that an array does not have the documented shape."""
    lines = ('print("shape", got.shape)', "failed = got.shape != wanted")
    return Proof(lines, {"got": (got, None)}, {"wanted": wanted})
