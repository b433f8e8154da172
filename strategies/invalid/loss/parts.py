"""Ways to break a valid call of any loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    argument,
    resized,
    surplus,
    with_inputs,
)
from conformance.strategies.invalid.loss.pointwise import unknown_reduction
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.model.formats import round_to
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

unknown_word = unknown_reduction("batchmean")
"""Break of a reduction that margin losses do not have."""
no_margin = Break("margin not positive", "margin", argument("margin", st.sampled_from((0.0, -1.0))))
"""Break of the margin of a triplet loss."""


def operand_breaks(signature: Signature, shapes: Shapes, *without: str) -> tuple[Break, ...]:
    """The breaks of a loss whose operands torch promotes and broadcasts.

    Args:
        without: names of further breaks that torch accepts.
    """
    left = ("* of another dtype", *without)
    return (unknown_word, *shape_breaks(signature, shapes, without=left, broadcast=True))


def array_of(case: Case, place: int) -> np.ndarray:
    """An input that must be present."""
    array = case.inputs[place]
    assert array is not None
    return array


def with_input(case: Case, place: int, array: np.ndarray) -> Case:
    """The case with another array as one of its inputs."""
    return replace(case, inputs=(*case.inputs[:place], array, *case.inputs[place + 1 :]))


def with_weight(case: Case, place: int, shape: tuple[int, ...]) -> Case:
    """Resize the weight of a module's state, or of a function, whose input `place` it is."""
    function = len(case.inputs) > place
    old = case.inputs[place] if function else case.call.state.get("weight")
    weight = round_to(resized(old, shape), case.call.dtype)
    if function:
        return with_input(case, place, weight)
    return replace(case, call=replace(case.call, state={"weight": weight}))


def more_features(draw: Draw, case: Case) -> Case:
    """An input whose last axis is longer than the layer accepts."""
    shape = array_of(case, 0).shape
    return with_inputs(case, {0: (*shape[:-1], shape[-1] + draw(surplus))})


def longer(name: str, place: int, axis: int = 0, *, least: int = 2) -> Break:
    """The break of an input with a longer axis than the others.

    Args:
        place: position of the input.
        least: smallest size of the axis at which the longer one cannot broadcast.
    """

    def applies(case: Case) -> bool:
        shape = array_of(case, place).shape
        there = -len(shape) <= axis < len(shape)
        return there and shape[axis] >= least

    def apply(draw: Draw, case: Case) -> Case:
        shape = list(array_of(case, place).shape)
        shape[axis] += draw(surplus)
        return with_inputs(case, {place: shape})

    return Break(f"{name} of another size", name, apply, applies=applies)


def with_axis(name: str, place: int, *, applies: Callable[[Case], bool]) -> Break:
    """The break of an input with an additional last axis of size 1; `place` is its position."""

    def apply(draw: Draw, case: Case) -> Case:
        return with_inputs(case, {place: (*array_of(case, place).shape, 1)})

    return Break(f"{name} with one axis more", name, apply, applies=applies)
