"""Ways to break a valid call of the gated linear unit."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, axis_of, with_inputs
from conformance.strategies.invalid.reshaping import no_axis
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_odd = st.sampled_from((1, 3, 5, 17))


def _odd_length(draw: Draw, case: Case) -> Case:
    return axis_of(case, 0, case.call.arguments.get("dim", -1))(draw(_odd))


def _number(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: ()})


def gated_breaks() -> tuple[Break, ...]:
    """The breaks of GLU."""
    return (
        Break("an odd length to be halved", "input", _odd_length),
        no_axis("dim"),
        Break("a number", "input", _number, index=True),
    )
