"""Ways to break a valid call of softmax and related functions."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    replace_arguments,
    set_argument,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_excess = st.integers(0, 2)
_negative = st.sampled_from((-1.0, -0.5, -10.0))


def _no_such_dim(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    axes, excess = max(x.ndim, 1), draw(_excess)
    return replace_arguments(case, dim=draw(st.sampled_from((axes + excess, -axes - 1 - excess))))


def _keeps_dtype(case: Case) -> bool:
    """Whether the call does not cast its input to another dtype."""
    return case.call.arguments.get("dtype") is None


def softmax_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer that takes a `dim`, by its catalogue name."""
    integer_input_break = Break(
        "input of whole numbers", "input", integer_input(), applies=_keeps_dtype
    )
    common_breaks = (Break("no such dim", "dim", _no_such_dim),)
    if layer == "functional.gumbel_softmax":
        # torch documents that tau is not negative, and does not check it.
        return (
            *common_breaks,
            Break("tau negative", "tau", set_argument("tau", _negative)),
        )
    return (*common_breaks, integer_input_break)
