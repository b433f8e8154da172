"""Ways to break a valid call of the gated linear unit."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, resize_axis, resize_inputs
from conformance.strategies.invalid.reshaping import no_such_axis
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_odd_lengths = st.sampled_from((1, 3, 5, 17))


def _odd_length(draw: Draw, case: Case) -> Case:
    return resize_axis(case, 0, case.call.arguments.get("dim", -1))(draw(_odd_lengths))


def _scalar_input(draw: Draw, case: Case) -> Case:
    return resize_inputs(case, {0: ()})


def glu_breaks() -> tuple[Break, ...]:
    """An odd length, an axis that the input lacks, and an input without axes."""
    return (
        Break("an odd length to be halved", "input", _odd_length),
        no_such_axis("dim"),
        Break("a number", "input", _scalar_input),
    )
