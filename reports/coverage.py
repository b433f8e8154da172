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
    found: dict[str, list[str]] = {}
    for row in table.rows:
        if row.layer in facts and facts[row.layer].family:
            found.setdefault(facts[row.layer].family, []).append(outcome(row.tally))
    if not found:
        return ()
    rows = [_row(family, catalogue.get(family), each) for family, each in found.items()]
    every = [one for each in found.values() for one in each]
    return (*rows, _row("", sum(catalogue.values()) or None, every))


def _row(family: str, known: int | None, outcomes: list[str]) -> Coverage:
    number = Counter(outcomes)
    return Coverage(family, known, len(outcomes), {name: number[name] for name in OUTCOMES})


def outcome(tally: Totals) -> str:
    """The result of a layer: that of its worst item; unsupported only if all items are."""
    has = tally.statuses
    if any(name in has for name in ("crashed", "hung", "failed")):
        return "failed"
    if "unchecked" in has or tally.missing:
        return "unchecked"
    return next((name for name in ("known", "passed") if name in has), "unsupported")
