"""Ways to break a valid call of cosine similarity, and of distances."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_axis,
    set_argument,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_surplus = st.integers(0, 2)


def _rank(case: Case) -> int:
    return max(x.ndim for x in case.inputs if x is not None)


def _no_such_dim(draw: Draw, case: Case) -> Case:
    rank = _rank(case)
    excess = draw(_surplus)
    return replace_arguments(case, dim=draw(st.sampled_from((rank + excess, -rank - 1 - excess))))


def _wrong_length(axis: int | None) -> Break:
    """The break of second vectors that are longer than the first."""

    def vector_axis(case: Case) -> int:
        dim: int = case.call.arguments.get("dim", 1) if axis is None else axis
        x = case.inputs[0]
        assert x is not None
        return dim if dim < 0 else dim - _rank(case)

    def apply(draw: Draw, case: Case) -> Case:
        # At least 2: a length of 1 would broadcast.
        first = resize_axis(case, 0, vector_axis(case))(2 + draw(_surplus))
        x = first.inputs[0]
        assert x is not None
        return resize_axis(first, 1, vector_axis(case))(
            x.shape[vector_axis(case)] + 1 + draw(_surplus)
        )

    return Break("vectors of other lengths", "x2", apply)


def cosine_breaks() -> tuple[Break, ...]:
    """The breaks of cosine similarity."""
    return (
        Break("no such dim", "dim", _no_such_dim),
        _wrong_length(None),
        Break("eps negative", "eps", set_argument("eps", st.sampled_from((-1.0, -1e-8)))),
    )


def distance_breaks() -> tuple[Break, ...]:
    """The breaks of the distance between pairs of vectors."""
    return (_wrong_length(-1),)


def pdist_breaks() -> tuple[Break, ...]:
    """The breaks of pdist that do not follow from its shapes."""
    return (
        Break("p negative", "p", set_argument("p", st.sampled_from((-1.0, -0.5, -math.inf)))),
        Break("p not a number", "p", set_argument("p", st.just(math.nan))),
    )
