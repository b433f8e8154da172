"""What a run covered, by family of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.reports.matrix import Matrix, Totals
from conformance.reports.results import Run

OUTCOMES = ("passed", "known", "failed", "unchecked", "unsupported")
"""Results of layers, in the order of the columns."""


@dataclass(frozen=True)
class Coverage:
    """Layers of one family, or of all, by result.

    Args:
        family: its name; empty for all.
        known: number of its layers in the suite; None if the file does not say.
        run: number of layers that this run has items for.
        outcomes: result → number of layers; has all of `OUTCOMES`.
    """

    family: str
    known: int | None
    run: int
    outcomes: Mapping[str, int]


def coverage(run: Run, table: Matrix) -> tuple[Coverage, ...]:
    """A row for each family in a run, in order, and one for the whole suite.

    Files of older versions do not record families, and give no row.
    """
    facts, catalogue = run.identity.layers, run.identity.catalogue
    outcomes_by_family: dict[str, list[str]] = {}
    for row in table.rows:
        if row.layer in facts and facts[row.layer].family:
            outcomes_by_family.setdefault(facts[row.layer].family, []).append(
                layer_outcome(row.tally)
            )
    if not outcomes_by_family:
        return ()
    rows = [
        _row(family, catalogue.get(family), outcomes)
        for family, outcomes in outcomes_by_family.items()
    ]
    all_outcomes = [
        family_outcome for outcomes in outcomes_by_family.values() for family_outcome in outcomes
    ]
    return (*rows, _row("", sum(catalogue.values()) or None, all_outcomes))


def _row(family: str, total: int | None, outcomes: list[str]) -> Coverage:
    number = Counter(outcomes)
    return Coverage(family, total, len(outcomes), {name: number[name] for name in OUTCOMES})


def layer_outcome(tally: Totals) -> str:
    """The result of a layer: that of its worst item; unsupported only if all items are."""
    has = tally.statuses
    if any(name in has for name in ("crashed", "hung", "failed")):
        return "failed"
    if "unchecked" in has or tally.missing:
        return "unchecked"
    return next((name for name in ("known", "passed") if name in has), "unsupported")
