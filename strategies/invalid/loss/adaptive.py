"""Ways to break a valid call of the adaptive softmax."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    set_argument,
)
from conformance.strategies.invalid.loss.parts import present_input, replace_input
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def _wrong_cutoffs(draw: Draw, case: Case) -> Case:
    """Cutoffs that do not increase, are not positive, or exceed the classes."""
    count = case.call.arguments["n_classes"]
    wrong_cutoffs = ((0,), (-1,), (count,), (1, 1), (1, count), (2, 1), ())
    return replace_arguments(case, cutoffs=draw(st.sampled_from(wrong_cutoffs)))


def _class_out_of_range(draw: Draw, case: Case) -> Case:
    target, count = present_input(case, 1).copy(), case.call.arguments["n_classes"]
    wrong_class = draw(st.sampled_from((count, count + 7, -1)))
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = wrong_class
    return replace_input(case, 1, target)


def _has_targets(case: Case) -> bool:
    return present_input(case, 1).size > 0


def method_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the methods, which take no target."""
    return (
        Break("cutoffs that are no cutoffs", "cutoffs", _wrong_cutoffs),
        Break("div_value of 0", "div_value", set_argument("div_value", st.just(0.0))),
        *shape_breaks(signature, shapes),
    )


def adaptive_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the module."""
    out_of_range = Break("class out of range", "target", _class_out_of_range, applies=_has_targets)
    return (*method_breaks(signature, shapes), out_of_range)
