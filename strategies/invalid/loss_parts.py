"""Ways to break a valid call of any loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from conformance.strategies.invalid.breaks import (
    DOCUMENTED,
    Break,
    surplus,
    with_inputs,
)
from conformance.strategies.invalid.loss_pointwise import unknown_reduction
from conformance.strategies.windows import Draw

from conformance.model.case import Case

unknown_word = unknown_reduction("batchmean")
"""A reduction that none of the losses by margins has."""


def given(case: Case, place: int) -> np.ndarray:
    """An input that is there.

    Args:
        case: the case.
        place: of the input.
    """
    array = case.inputs[place]
    assert array is not None
    return array


def longer(
    name: str, place: int, axis: int = 0, *, least: int = 2, required: str = DOCUMENTED
) -> Break:
    """An input with a longer axis than the others have.

    Args:
        name: of the input.
        place: where it stands.
        axis: which.
        least: the others' size from which on it is no broadcast.
        required: who demands it.
    """

    def applies(case: Case) -> bool:
        shape = given(case, place).shape
        there = -len(shape) <= axis < len(shape)
        return there and shape[axis] >= least

    def apply(draw: Draw, case: Case) -> Case:
        shape = list(given(case, place).shape)
        shape[axis] += draw(surplus)
        return with_inputs(case, {place: shape})

    return Break(f"{name} of another size", name, apply, required, applies)


def with_axis(
    name: str, place: int, *, applies: Callable[[Case], bool], required: str = DOCUMENTED
) -> Break:
    """An input with one axis more, of size 1.

    Args:
        name: of the input.
        place: where it stands.
        applies: whether a case can be broken so.
        required: who demands it.
    """

    def apply(draw: Draw, case: Case) -> Case:
        return with_inputs(case, {place: (*given(case, place).shape, 1)})

    return Break(f"{name} with one axis more", name, apply, required, applies)


def has_samples(case: Case) -> bool:
    """Whether the first input has a batch with something in it."""
    return given(case, 0).ndim > 0 and given(case, 0).size > 0
