"""Ways to break a valid call of a loss of vectors."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, argument
from conformance.strategies.invalid.loss.parts import (
    array_of,
    has_samples,
    longer,
    unknown_word,
    with_axis,
)
from hypothesis import strategies as st

from conformance.model.case import Case


def _batched(case: Case) -> bool:
    return has_samples(case) and array_of(case, 0).ndim > 1


def cosine_breaks() -> tuple[Break, ...]:
    """The breaks of the cosine embedding loss."""
    return (
        unknown_word,
        longer("input2", 1, -1),
        longer("target", 2),
        with_axis("target", 2, applies=has_samples),
    )


def triplet_breaks() -> tuple[Break, ...]:
    """The breaks of the triplet losses."""
    return (
        unknown_word,
        Break("margin not positive", "margin", argument("margin", st.sampled_from((0.0, -1.0)))),
        longer("positive", 1, -1),
        longer("negative", 2, -1),
        with_axis("positive", 1, applies=_batched),
        with_axis("negative", 2, applies=_batched),
    )
