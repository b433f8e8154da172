"""Reasons for which a backend declined examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from conformance.reports.matrix import Matrix, matrix
from conformance.reports.results import Run


@dataclass(frozen=True)
class Reason:
    """One reason for which examples were declined.

    Args:
        text: the reason, as the backend gave it.
        examples: number of examples declined for it.
        layers: the layers of these examples.
    """

    text: str
    examples: int
    layers: tuple[str, ...]


def unsupported(run: Run, table: Matrix | None = None) -> tuple[Reason, ...]:
    """The reasons for which examples were declined, the most frequent first."""
    examples: Counter[str] = Counter()
    layers: dict[str, dict[str, None]] = {}
    cells = (cell for row in (table or matrix(run)).rows for cell in row.cells if cell)
    for verdict in (verdict for cell in cells for verdict in cell.verdicts):
        for text, number in verdict.examples.unsupported.items():
            examples[text] += number
            layers.setdefault(text, {})[verdict.layer] = None
    return tuple(Reason(text, n, tuple(layers[text])) for text, n in examples.most_common())
