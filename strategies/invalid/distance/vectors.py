"""Ways to break a valid call of cosine similarity, and of distances."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    axis_of,
    with_arguments,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_beyond = st.integers(0, 2)


def _rank(case: Case) -> int:
    return max(x.ndim for x in case.inputs if x is not None)


def _dim(draw: Draw, case: Case) -> Case:
    rank = _rank(case)
    more = draw(_beyond)
    return with_arguments(case, dim=draw(st.sampled_from((rank + more, -rank - 1 - more))))


def _other_length(axis: int | None) -> Break:
    """The break of second vectors that are longer than the first."""

    def along(case: Case) -> int:
        place: int = case.call.arguments.get("dim", 1) if axis is None else axis
        x = case.inputs[0]
        assert x is not None
        return place if place < 0 else place - _rank(case)

    def apply(draw: Draw, case: Case) -> Case:
        # At least 2: a length of 1 would broadcast.
        first = axis_of(case, 0, along(case))(2 + draw(_beyond))
        x = first.inputs[0]
        assert x is not None
        return axis_of(first, 1, along(case))(x.shape[along(case)] + 1 + draw(_beyond))

    return Break("vectors of other lengths", "x2", apply)


def cosine_breaks() -> tuple[Break, ...]:
    """The breaks of cosine similarity."""
    return (
        Break("no such dim", "dim", _dim, index=True),
        _other_length(None),
        Break("eps negative", "eps", argument("eps", st.sampled_from((-1.0, -1e-8))), CUSTOMARY),
    )


def distance_breaks() -> tuple[Break, ...]:
    """The breaks of the distance between pairs of vectors."""
    return (_other_length(-1),)


def pdist_breaks() -> tuple[Break, ...]:
    """The breaks of pdist that do not follow from its shapes."""
    return (
        Break("p negative", "p", argument("p", st.sampled_from((-1.0, -0.5, -math.inf)))),
        Break("p not a number", "p", argument("p", st.just(math.nan))),
    )
