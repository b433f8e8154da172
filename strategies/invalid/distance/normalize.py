"""Ways to break a valid call of normalize."""

from __future__ import annotations

import math
from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, integer_input, with_arguments, with_inputs
from conformance.strategies.invalid.reshaping import no_axis
from conformance.strategies.windows import Draw

from conformance.model.case import Case


def _twice(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    return with_arguments(case, dim=(0, -x.ndim))


def _largest_of_none(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    empty = with_inputs(case, {0: (*x.shape[:-1], 0)})
    return with_arguments(replace(empty, inputs=(empty.inputs[0],)), p=math.inf, dim=-1)


def unit_breaks() -> tuple[Break, ...]:
    """The breaks of normalize."""
    return (
        no_axis("dim"),
        Break("an axis twice", "dim", _twice),
        Break("the largest of no numbers", "p", _largest_of_none, index=True),
        Break("input of another dtype", "input", integer_input()),
    )
