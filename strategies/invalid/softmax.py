"""Ways to break a valid call of softmax and related functions."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    integer_input,
    with_arguments,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_beyond = st.integers(0, 2)
_negative = st.sampled_from((-1.0, -0.5, -10.0))


def _dim(draw: Draw, case: Case) -> Case:
    x = case.inputs[0]
    assert x is not None
    axes, more = max(x.ndim, 1), draw(_beyond)
    return with_arguments(case, dim=draw(st.sampled_from((axes + more, -axes - 1 - more))))


def _kept(case: Case) -> bool:
    """Whether the call does not cast its input to another dtype."""
    return case.call.arguments.get("dtype") is None


def softmax_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer of the family that takes a `dim`."""
    whole = Break("input of whole numbers", "input", integer_input(), CUSTOMARY, applies=_kept)
    found = (Break("no such dim", "dim", _dim, index=True),)
    if layer == "functional.gumbel_softmax":
        # The page asks for a tau that is not negative; torch does not check it.
        return (*found, Break("tau negative", "tau", argument("tau", _negative), CUSTOMARY))
    return (*found, whole)
