"""Ways to break a valid call of an elementwise loss."""

from __future__ import annotations

import numpy as np
from conformance.strategies.invalid.breaks import Break, argument, with_inputs
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_more = st.integers(1, 2)
_WORDS = ("average", "Mean", "")


def unknown_reduction(*others: str) -> Break:
    """The break of an unknown reduction; `others` are reductions that this loss does not have."""
    known = st.sampled_from((*_WORDS, *others))
    return Break("unknown reduction", "reduction", argument("reduction", known))


def shape_of(case: Case, place: int) -> tuple[int, ...]:
    """The shape of an input that must be present."""
    array = case.inputs[place]
    assert array is not None
    return array.shape


def has_axes(case: Case) -> bool:
    """Whether the input has at least one axis."""
    return bool(shape_of(case, 0))


def wider_target() -> Break:
    """The break of a target that is longer than the input along an axis and cannot broadcast."""

    def apply(draw: Draw, case: Case) -> Case:
        first, second = shape_of(case, 0), shape_of(case, 1)
        whole = list(np.broadcast_shapes(first, second))
        axis = draw(st.integers(0, len(whole) - 1))
        whole[axis] = max(whole[axis], 2)
        longer = list(whole)
        longer[axis] += draw(_more)
        changed: dict[int, list[int]] = {0: whole, 1: longer}
        if len(case.inputs) > 2 and case.inputs[2] is not None:
            changed[2] = whole
        return with_inputs(case, changed)

    return Break("target of another size", "target", apply, applies=has_axes)


def broadcast_breaks(*others: str) -> tuple[Break, ...]:
    """The breaks of a loss whose operands broadcast; `others` are reductions it does not have."""
    return (unknown_reduction(*others), wider_target())
