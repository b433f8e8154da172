"""What a run covered, by family of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.reports.matrix import Matrix, Totals
from conformance.reports.results import Run

OUTCOMES = ("passed", "known", "failed", "unchecked", "unsupported")
"""What came of a layer, in the order of the columns."""


@dataclass(frozen=True)
class Coverage:
    """One family, or all of them.

    Args:
        family: its name; empty for all.
        known: its layers in the suite; None where the file does not tell.
        run: those of them that this run has items of.
        outcomes: number of layers by what came of them, every one of `OUTCOMES`.
    """

    family: str
    known: int | None
    run: int
    outcomes: Mapping[str, int]


def coverage(run: Run, table: Matrix) -> tuple[Coverage, ...]:
    """A row for each family that a run has items of, in their order, and one for all of the suite.

    Args:
        run: the run; files of older versions tell of no family, and have no row.
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
    """What came of a layer: the worst of its items, but unsupported only if nothing else came.

    Args:
        tally: sums over its verdicts.
    """
    has = tally.statuses
    if any(name in has for name in ("crashed", "hung", "failed")):
        return "failed"
    if "unchecked" in has or tally.missing:
        return "unchecked"
    return next((name for name in ("known", "passed") if name in has), "unsupported")
