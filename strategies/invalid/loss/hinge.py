"""Ways to break a valid call of a loss of ±1 labels."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break
from conformance.strategies.invalid.loss.parts import has_samples, longer, unknown_word, with_axis


def label_breaks() -> tuple[Break, ...]:
    """The breaks of the hinge embedding loss and of the soft margin loss."""
    return (unknown_word, longer("target", 1, -1))


def ranking_breaks() -> tuple[Break, ...]:
    """The breaks of the margin ranking loss."""
    return (
        unknown_word,
        longer("input2", 1),
        longer("target", 2),
        with_axis("target", 2, applies=has_samples),
        with_axis("input2", 1, applies=has_samples),
    )
