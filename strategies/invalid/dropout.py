"""Ways to break a valid call of dropout."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import Break, argument, negative, with_inputs
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_above = st.sampled_from((1.5, 2.0, 1.0000001, math.inf))
_below = st.sampled_from((-0.5, -1e-9, -math.inf)) | negative
_nan = st.just(math.nan)
_ranks = st.sampled_from(((3,), (2, 1, 2, 2), (), (1, 2, 1, 1, 2)))


def _rank(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: draw(_ranks)})


def dropout_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer of the family; only one-dimensional dropout refuses other ranks."""
    found = (
        Break("p above 1", "p", argument("p", _above)),
        Break("p negative", "p", argument("p", _below)),
        Break("p not a number", "p", argument("p", _nan)),
    )
    if layer not in ("Dropout1d", "functional.dropout1d"):
        return found
    return (*found, Break("input of another rank", "input", _rank))
