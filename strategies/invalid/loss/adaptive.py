"""Ways to break a valid call of the adaptive softmax."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    integer_input,
    with_arguments,
    with_inputs,
    wrong_sizes,
)
from conformance.strategies.invalid.loss.parts import array_of, more_features, with_axis, with_input
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case


def _cutoffs(draw: Draw, case: Case) -> Case:
    """Not increasing, not positive, or beyond the classes."""
    count = case.call.arguments["n_classes"]
    wrong = ((0,), (-1,), (count,), (1, 1), (1, count), (2, 1), ())
    return with_arguments(case, cutoffs=draw(st.sampled_from(wrong)))


def _beyond(draw: Draw, case: Case) -> Case:
    target, count = array_of(case, 1).copy(), case.call.arguments["n_classes"]
    outside = draw(st.sampled_from((count, count + 7, -1)))
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = outside
    return with_input(case, 1, target)


def _batch_size(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {1: (draw(wrong_sizes(array_of(case, 1).size)),)})


def _without_batch(draw: Draw, case: Case) -> Case:
    """Features of one sample with the targets of a batch."""
    return with_input(case, 0, array_of(case, 0)[0])


def _any_target(case: Case) -> bool:
    return array_of(case, 1).size > 0


def _batched(case: Case) -> bool:
    return array_of(case, 0).ndim == 2


def _rows(case: Case) -> bool:
    return _batched(case) and _any_target(case)


def method_breaks() -> tuple[Break, ...]:
    """The breaks of what takes no target."""
    return (
        Break("cutoffs that are no cutoffs", "cutoffs", _cutoffs),
        Break("wrong number of features", "input", more_features),
        Break("div_value of 0", "div_value", argument("div_value", st.just(0.0)), CUSTOMARY),
        Break("input of another dtype", "input", integer_input()),
    )


def adaptive_breaks() -> tuple[Break, ...]:
    """The breaks of the module."""
    return (
        *method_breaks(),
        Break("class out of range", "target", _beyond, applies=_any_target, index=True),
        Break("target of another batch size", "target", _batch_size, applies=_batched),
        with_axis("target", 1, applies=_batched),
        Break("input without a batch dimension", "input", _without_batch, applies=_rows),
    )
