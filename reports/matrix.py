"""Layers × checks, and sums over parts of a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.reports.grades import letter, worst_of
from conformance.reports.results import Run
from conformance.reports.statuses import (
    BAD,
    SEVERITY,
    cached_per_run,
    items_without_verdict,
    severity_rank,
    status,
    unique_verdicts,
)

from conformance.model.case import Verdict
from conformance.model.checks import in_column_order


@dataclass(frozen=True)
class Totals:
    """Sums over some verdicts.

    Args:
        status: the worst status among them; `"missing"` when there are none.
        statuses: number of verdicts by status, worst first, without zeros.
        missing: number of announced items without a verdict.
        drawn, checked, declined, invalid: numbers of examples; declined = not supported by the
            backend.
        failed, excused: numbers of checked examples; excused = explained by a known failure.
        left_out: examples not run because a known failure would end the process.
        thin: verdicts that passed on too few structures.
        grade: the worst grade among them (`grades.grade_of`); empty if none has one.
        comparisons: numbers compared with a finite bound.
        margin: largest error ÷ bound, None where no bound applied.
    """

    status: str
    statuses: Mapping[str, int]
    missing: int
    drawn: int
    checked: int
    declined: int
    invalid: int
    comparisons: int
    margin: float | None
    failed: int = 0
    excused: int = 0
    left_out: int = 0
    thin: int = 0
    grade: str = ""

    @property
    def letter(self) -> str:
        """The letter of the grade; empty without one."""
        return letter(self.grade)

    @property
    def verdicts(self) -> int:
        """Number of verdicts."""
        return sum(self.statuses.values())

    @property
    def items(self) -> int:
        """Number of items, including those without a verdict."""
        return self.verdicts + self.missing


@dataclass(frozen=True)
class MatrixCell:
    """One layer under one check, over all dtypes and devices.

    Args:
        layer, check: row and column of the matrix.
        tally: sums over its verdicts.
        verdicts: at most one for each dtype and device.
    """

    layer: str
    check: str
    tally: Totals
    verdicts: tuple[Verdict, ...]

    @property
    def worst(self) -> Verdict | None:
        """The first verdict with the cell's worst status."""
        return next((v for v in self.verdicts if status(v) == self.tally.status), None)


@dataclass(frozen=True)
class LayerRow:
    """One layer under all checks.

    Args:
        layer: its name.
        cells: one for each of the matrix's checks; None if the run has no such item.
        tally: sums over all its verdicts.
    """

    layer: str
    cells: tuple[MatrixCell | None, ...]
    tally: Totals


@dataclass(frozen=True)
class Matrix:
    """Layers × checks.

    Args:
        checks: the columns.
        rows: one for each layer.
    """

    checks: tuple[str, ...]
    rows: tuple[LayerRow, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the rows."""
        return tuple(row.layer for row in self.rows)


@cached_per_run
def matrix(run: Run) -> Matrix:
    """Layers × checks, each cell over all dtypes and devices.

    Layers are in the order of the run's items, then of its verdicts; checks in the suite's order.
    """
    order = {item: index for index, item in enumerate(run.identity.items)}
    verdicts_by_cell: dict[tuple[str, str], list[Verdict]] = {}
    gaps: Counter[tuple[str, str]] = Counter()
    layers: dict[str, None] = {}
    check_names: dict[str, None] = {}
    without_verdict = set(items_without_verdict(run))
    for item in run.identity.items:
        parts = item.split("-", 3)
        if len(parts) == 4:
            layers[parts[0]] = None
            check_names[parts[1]] = None
            if item in without_verdict:
                without_verdict.discard(item)
                gaps[parts[0], parts[1]] += 1
    for verdict in sorted(unique_verdicts(run), key=lambda v: order.get(v.id, len(order))):
        layers[verdict.layer] = None
        check_names[verdict.check] = None
        verdicts_by_cell.setdefault((verdict.layer, verdict.check), []).append(verdict)
    checks = in_column_order(check_names)
    rows = []
    for layer in layers:
        cells = []
        for check in checks:
            cell_verdicts = tuple(verdicts_by_cell.get((layer, check), ()))
            gap = gaps[layer, check]
            cells.append(
                MatrixCell(layer, check, tally(cell_verdicts, gap), cell_verdicts)
                if cell_verdicts or gap
                else None
            )
        row_verdicts = [v for cell in cells if cell for v in cell.verdicts]
        lacking = sum(cell.tally.missing for cell in cells if cell)
        rows.append(LayerRow(layer, tuple(cells), tally(row_verdicts, lacking)))
    return Matrix(checks, tuple(rows))


@cached_per_run
def totals(run: Run) -> Totals:
    """Sums over the whole run."""
    return tally(unique_verdicts(run), len(items_without_verdict(run)))


def tally(verdict_list: Iterable[Verdict], gap: int = 0) -> Totals:
    """Sum up verdicts; `gap` is the number of items without a verdict."""
    number: Counter[str] = Counter()
    verdict_list = tuple(verdict_list)
    drawn = checked = declined = invalid = comparisons = failed = excused = left_out = thin = 0
    largest_margin: float | None = None
    for verdict in verdict_list:
        number[status(verdict)] += 1
        examples, margin = verdict.examples, margin_of(verdict)
        drawn += examples.drawn
        checked += examples.checked
        declined += examples.declined
        invalid += examples.invalid
        failed += examples.failed
        excused += examples.excused
        left_out += examples.left_out
        comparisons += verdict.comparisons
        thin += verdict.thin is not None and verdict.status == "passed"
        if margin is not None and (largest_margin is None or margin > largest_margin):
            largest_margin = margin
    return Totals(
        next((name for name in SEVERITY if number[name]), "missing"),
        {name: number[name] for name in SEVERITY if number[name]},
        gap, drawn, checked, declined, invalid, comparisons, largest_margin, failed, excused,
        left_out, thin, worst_of(verdict_list),
    )  # fmt: skip


def margin_of(verdict: Verdict) -> float | None:
    """The margin of a verdict; None instead of NaN."""
    margin = verdict.margin
    return None if margin is None or math.isnan(margin) else margin


def verdicts_with_status(table: Matrix, statuses: Sequence[str] = BAD) -> tuple[Verdict, ...]:
    """The verdicts with one of these statuses, in the order of a matrix, worst first in a cell.

    The default statuses are those that make the run fail.
    """
    selected: list[Verdict] = []
    for row in table.rows:
        for cell in row.cells:
            if cell and any(name in cell.tally.statuses for name in statuses):
                selected += sorted(
                    (v for v in cell.verdicts if status(v) in statuses), key=severity_rank
                )
    return tuple(selected)
