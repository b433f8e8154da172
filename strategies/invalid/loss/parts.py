"""Ways to break a valid call of any loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    resize_inputs,
    resized,
    set_argument,
    surplus,
)
from conformance.strategies.invalid.loss.pointwise import unknown_reduction
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.model.formats import round_to
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

unknown_batchmean = unknown_reduction("batchmean")
"""Break of a reduction that margin losses do not have."""
margin_not_positive = Break(
    "margin not positive", "margin", set_argument("margin", st.sampled_from((0.0, -1.0)))
)
"""Break of the margin of a triplet loss."""


def operand_breaks(signature: Signature, shapes: Shapes, *excluded: str) -> tuple[Break, ...]:
    """The breaks of a loss whose operands torch promotes and broadcasts.

    Args:
        excluded: names of further breaks that torch accepts.
    """
    all_excluded = ("* of another dtype", *excluded)
    return (
        unknown_batchmean,
        *shape_breaks(signature, shapes, excluded=all_excluded, broadcast=True),
    )


def present_input(case: Case, place: int) -> np.ndarray:
    """An input that must be present."""
    array = case.inputs[place]
    assert array is not None
    return array


def replace_input(case: Case, place: int, array: np.ndarray) -> Case:
    """The case with another array as one of its inputs."""
    return replace(case, inputs=(*case.inputs[:place], array, *case.inputs[place + 1 :]))


def resize_weight(case: Case, place: int, shape: tuple[int, ...]) -> Case:
    """Resize the weight of a module's state, or of a function, whose input `place` it is."""
    function = len(case.inputs) > place
    old = case.inputs[place] if function else case.call.state.get("weight")
    weight = round_to(resized(old, shape), case.call.dtype)
    if function:
        return replace_input(case, place, weight)
    return replace(case, call=replace(case.call, state={"weight": weight}))


def add_features(draw: Draw, case: Case) -> Case:
    """An input whose last axis is longer than the layer accepts."""
    shape = present_input(case, 0).shape
    return resize_inputs(case, {0: (*shape[:-1], shape[-1] + draw(surplus))})


def longer_axis(name: str, place: int, axis: int = 0, *, min_size: int = 2) -> Break:
    """The break of an input with a longer axis than the others.

    Args:
        place: position of the input.
        min_size: smallest size of the axis at which the longer one cannot broadcast.
    """

    def applies(case: Case) -> bool:
        shape = present_input(case, place).shape
        has_axis = -len(shape) <= axis < len(shape)
        return has_axis and shape[axis] >= min_size

    def apply(draw: Draw, case: Case) -> Case:
        shape = list(present_input(case, place).shape)
        shape[axis] += draw(surplus)
        return resize_inputs(case, {place: shape})

    return Break(f"{name} of another size", name, apply, applies=applies)


def extra_axis(name: str, place: int, *, applies: Callable[[Case], bool]) -> Break:
    """The break of an input with an additional last axis of size 1; `place` is its position."""

    def apply(draw: Draw, case: Case) -> Case:
        return resize_inputs(case, {place: (*present_input(case, place).shape, 1)})

    return Break(f"{name} with one axis more", name, apply, applies=applies)
