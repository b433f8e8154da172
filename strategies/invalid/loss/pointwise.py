"""Ways to break a valid call of an elementwise loss."""

from __future__ import annotations

import numpy as np
from conformance.strategies.invalid.breaks import Break, resize_inputs, set_argument
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_surplus = st.integers(1, 2)
_WORDS = ("average", "Mean", "")


def unknown_reduction(*others: str) -> Break:
    """The break of an unknown reduction; `others` are reductions that this loss does not have."""
    words = st.sampled_from((*_WORDS, *others))
    return Break("unknown reduction", "reduction", set_argument("reduction", words))


def input_shape(case: Case, place: int) -> tuple[int, ...]:
    """The shape of an input that must be present."""
    array = case.inputs[place]
    assert array is not None
    return array.shape


def has_axes(case: Case) -> bool:
    """Whether the input has at least one axis."""
    return bool(input_shape(case, 0))


def wider_target() -> Break:
    """The break of a target that is longer than the input along an axis and cannot broadcast."""

    def apply(draw: Draw, case: Case) -> Case:
        first, second = input_shape(case, 0), input_shape(case, 1)
        common_shape = list(np.broadcast_shapes(first, second))
        axis = draw(st.integers(0, len(common_shape) - 1))
        common_shape[axis] = max(common_shape[axis], 2)
        longer = list(common_shape)
        longer[axis] += draw(_surplus)
        shapes: dict[int, list[int]] = {0: common_shape, 1: longer}
        if len(case.inputs) > 2 and case.inputs[2] is not None:
            shapes[2] = common_shape
        return resize_inputs(case, shapes)

    return Break("target of another size", "target", apply, applies=has_axes)


def broadcast_breaks(*others: str) -> tuple[Break, ...]:
    """The breaks of a loss whose operands broadcast; `others` are reductions it does not have."""
    return (unknown_reduction(*others), wider_target())
