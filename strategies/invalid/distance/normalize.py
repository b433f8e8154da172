"""Ways to break a valid call of normalize."""

from __future__ import annotations

import math
from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    replace_arguments,
    resize_inputs,
)
from conformance.strategies.invalid.reshaping import no_such_axis
from conformance.strategies.windows import Draw

from conformance.model.case import Case


def _repeated_axis(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    return replace_arguments(case, dim=(0, -x.ndim))


def _largest_of_nothing(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    empty = resize_inputs(case, {0: (*x.shape[:-1], 0)})
    return replace_arguments(replace(empty, inputs=(empty.inputs[0],)), p=math.inf, dim=-1)


def normalize_breaks() -> tuple[Break, ...]:
    """An axis that is missing or given twice, a maximum of no numbers, and integers as input."""
    return (
        no_such_axis("dim"),
        Break("an axis twice", "dim", _repeated_axis),
        Break("the largest of no numbers", "p", _largest_of_nothing),
        Break("input of another dtype", "input", integer_input()),
    )
