"""Ways to break a valid call of the adaptive softmax."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_arguments,
)
from conformance.strategies.invalid.loss.parts import array_of, with_input
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def _cutoffs(draw: Draw, case: Case) -> Case:
    """Cutoffs that do not increase, are not positive, or exceed the classes."""
    count = case.call.arguments["n_classes"]
    wrong = ((0,), (-1,), (count,), (1, 1), (1, count), (2, 1), ())
    return with_arguments(case, cutoffs=draw(st.sampled_from(wrong)))


def _beyond(draw: Draw, case: Case) -> Case:
    target, count = array_of(case, 1).copy(), case.call.arguments["n_classes"]
    outside = draw(st.sampled_from((count, count + 7, -1)))
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = outside
    return with_input(case, 1, target)


def _any_target(case: Case) -> bool:
    return array_of(case, 1).size > 0


def method_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the methods, which take no target."""
    return (
        Break("cutoffs that are no cutoffs", "cutoffs", _cutoffs),
        Break("div_value of 0", "div_value", argument("div_value", st.just(0.0)), CUSTOMARY),
        *shape_breaks(signature, shapes),
    )


def adaptive_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the module."""
    beyond = Break("class out of range", "target", _beyond, applies=_any_target, index=True)
    return (*method_breaks(signature, shapes), beyond)
