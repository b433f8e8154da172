"""What a run says, as small frozen dataclasses: pure functions that every rendering shares."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conformance.case import STATUSES, Verdict

from .results import Run

SEVERITY = ("crashed", "hung", "failed", "unchecked", "known", "unsupported", "passed")
"""Statuses, worst first: the order in which a cell of the matrix chooses among its verdicts."""

BAD = ("crashed", "hung", "failed", "unchecked")
"""Statuses that make a run fail."""

GLYPHS: Mapping[str, str] = {
    "passed": "✓",
    "failed": "✗",
    "crashed": "◆",
    "hung": "◷",
    "unsupported": "–",
    "known": "≈",
    "unchecked": "?",
    "missing": "…",
}
"""One character per status, and one for an item without a verdict."""

CHECKS = (
    "shape",
    "values",
    "gradients",
    "laws",
    "layout",
    "special",
    "state",
    "repeat",
    "errors",
)
"""The suite's checks in the order of the matrix's columns; others follow as they come."""

CONFORMANT = "conformant"
NOT_CONFORMANT = "not conformant"
INCOMPLETE = "incomplete"
NOTHING_PASSED = "nothing passed"


@dataclass(frozen=True)
class Tally:
    """Sums over some verdicts.

    Args:
        status: the worst status among them; `"missing"` when there are none.
        statuses: number of verdicts by status, worst first, without zeros.
        missing: items that were to be run and have no verdict.
        drawn, checked, declined, invalid: examples; declined = unsupported by the backend.
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

    @property
    def verdicts(self) -> int:
        """Number of verdicts."""
        return sum(self.statuses.values())

    @property
    def items(self) -> int:
        """Number of items, those without a verdict included."""
        return self.verdicts + self.missing


@dataclass(frozen=True)
class Cell:
    """One layer under one check, over all dtypes and devices.

    Args:
        layer, check: the place in the matrix.
        tally: sums over its verdicts.
        verdicts: one for each dtype and device that has one.
    """

    layer: str
    check: str
    tally: Tally
    verdicts: tuple[Verdict, ...]

    @property
    def worst(self) -> Verdict | None:
        """The first verdict of the cell's worst status."""
        return next((v for v in self.verdicts if status(v) == self.tally.status), None)


@dataclass(frozen=True)
class Row:
    """One layer under all checks.

    Args:
        layer: its name.
        cells: one for each of the matrix's checks; None where the run has no such item.
        tally: sums over all its verdicts.
    """

    layer: str
    cells: tuple[Cell | None, ...]
    tally: Tally


@dataclass(frozen=True)
class Matrix:
    """Layers × checks.

    Args:
        checks: the columns.
        rows: one for each layer.
    """

    checks: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the rows."""
        return tuple(row.layer for row in self.rows)


@dataclass(frozen=True)
class Outcome:
    """The run in one word and a sentence or two.

    Args:
        name: `CONFORMANT`, `NOT_CONFORMANT`, `INCOMPLETE` or `NOTHING_PASSED`.
        reason: what it rests on, with denominators.
        gap: why the run is incomplete; empty for a complete one.
        missing: ids of the items that have no verdict.
    """

    name: str
    reason: str
    gap: str
    missing: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The reason, and after it what the run lacks."""
        return f"{self.reason} {self.gap}".rstrip()


@dataclass(frozen=True)
class Reason:
    """One reason for which examples were declined.

    Args:
        text: the reason, as the backend gave it.
        examples: number of examples declined for it.
        layers: the layers that it met.
    """

    text: str
    examples: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Margins:
    """The largest error ÷ bound for each layer and dtype, passing checks included.

    Args:
        dtypes: the columns.
        rows: layer, then for each dtype the verdict with the largest margin, None without one.
        ulps: for layer and dtype, how many numbers were how far away, as in `Verdict.ulps`.
    """

    dtypes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Verdict | None, ...]], ...]
    ulps: Mapping[tuple[str, str], Mapping[str, int]]


def status(verdict: Verdict) -> str:
    """The status of a verdict; one that this version does not know counts as `unchecked`."""
    return verdict.status if verdict.status in STATUSES else "unchecked"


def verdicts(run: Run) -> tuple[Verdict, ...]:
    """One verdict for each id: the worst where it was written twice, the later of equals."""
    kept: dict[str, Verdict] = {}
    for verdict in run.verdicts:
        before = kept.get(verdict.id)
        if before is None or _rank(verdict) <= _rank(before):
            kept[verdict.id] = verdict
    return tuple(kept.values())


def counts(run: Run) -> dict[str, int]:
    """Number of verdicts by status, every status present, in the order of `STATUSES`."""
    found = Counter(status(verdict) for verdict in verdicts(run))
    return {name: found[name] for name in STATUSES}


def totals(run: Run) -> Tally:
    """Sums over the whole run."""
    return _tally(verdicts(run), len(missing(run)))


def missing(run: Run) -> tuple[str, ...]:
    """Ids of the items that the run announced and has no verdict for."""
    seen = {verdict.id for verdict in run.verdicts}
    return tuple(item for item in dict.fromkeys(run.identity.items) if item not in seen)


def failures(run: Run) -> tuple[Verdict, ...]:
    """The verdicts that make the run fail, in the order of the matrix, worst first in a cell."""
    return _listed(run, BAD)


def known(run: Run) -> tuple[Verdict, ...]:
    """The known failures that still fail, in the order of the matrix."""
    return _listed(run, ("known",))


def ok(run: Run) -> bool:
    """Whether the session may exit with 0: nothing bad, and something passed.

    An interrupted session has its own exit status, so completeness is no part of this.

    Args:
        run: verdicts so far; the footer may be missing.
    """
    found = counts(run)
    return found["passed"] > 0 and not any(found[name] for name in BAD)


def outcome(run: Run) -> Outcome:
    """The run in one word, and the sentence that explains it."""
    found = counts(run)
    total = sum(found.values())
    lost = missing(run)
    gap = _gap(run, lost)
    bad = [name for name in BAD if found[name]]
    if bad and (found["passed"] or bad != ["unchecked"]):
        name = NOT_CONFORMANT
        number = _list([f"{found[name]:d} {name}" for name in bad])
        said = f"Of {_items(total)}, {number}; {_none(found['passed'])} passed."
    elif gap:
        name = INCOMPLETE
        said = f"{_none(found['passed']).capitalize()} of {_items(total)} passed so far."
    elif not found["passed"]:
        name = NOTHING_PASSED
        rest = _list([f"{found[name]:d} {name}" for name in SEVERITY if found[name]])
        said = f"Of {_items(total)} none passed: {rest}." if total else "The run holds no verdict."
    else:
        name = CONFORMANT
        said = f"{found['passed']:d} of {_items(total)} passed, none failed."
    if found["passed"] and found["unsupported"]:
        said += f" The backend does not support {found['unsupported']:d}."
    if found["known"]:
        said += f" {found['known']:d} failed as listed among the known failures."
    if run.identity.shard != "1/1":
        said += (
            f" This is shard {run.identity.shard}: {len(run.identity.items):d} of the whole run's"
            f" {_items(run.identity.total)}."
        )
    return Outcome(name, said, gap, lost)


def matrix(run: Run) -> Matrix:
    """Layers × checks, each cell over all dtypes and devices.

    Layers stand in the order in which the run names them, first among its items and then among
    its verdicts; checks in the suite's order.

    Args:
        run: the run.
    """
    order = {item: place for place, item in enumerate(run.identity.items)}
    places: dict[tuple[str, str], list[Verdict]] = {}
    gaps: Counter[tuple[str, str]] = Counter()
    layers: dict[str, None] = {}
    seen: dict[str, None] = {}
    lost = set(missing(run))
    for item in run.identity.items:
        parts = item.split("-", 3)
        if len(parts) == 4:
            layers[parts[0]] = None
            seen[parts[1]] = None
            if item in lost:
                lost.discard(item)
                gaps[parts[0], parts[1]] += 1
    for verdict in sorted(verdicts(run), key=lambda v: order.get(v.id, len(order))):
        layers[verdict.layer] = None
        seen[verdict.check] = None
        places.setdefault((verdict.layer, verdict.check), []).append(verdict)
    checks = (*(c for c in CHECKS if c in seen), *(c for c in seen if c not in CHECKS))
    rows = []
    for layer in layers:
        cells = []
        for check in checks:
            found = tuple(places.get((layer, check), ()))
            gap = gaps[layer, check]
            cells.append(Cell(layer, check, _tally(found, gap), found) if found or gap else None)
        held = [v for cell in cells if cell for v in cell.verdicts]
        lacking = sum(cell.tally.missing for cell in cells if cell)
        rows.append(Row(layer, tuple(cells), _tally(held, lacking)))
    return Matrix(checks, tuple(rows))


def unsupported(run: Run) -> tuple[Reason, ...]:
    """Why examples were declined, the most frequent reason first."""
    examples: Counter[str] = Counter()
    layers: dict[str, dict[str, None]] = {}
    cells = (cell for row in matrix(run).rows for cell in row.cells if cell)
    for verdict in (verdict for cell in cells for verdict in cell.verdicts):
        for text, number in verdict.examples.unsupported.items():
            examples[text] += number
            layers.setdefault(text, {})[verdict.layer] = None
    return tuple(Reason(text, n, tuple(layers[text])) for text, n in examples.most_common())


def margins(run: Run) -> Margins:
    """The largest error ÷ bound for each layer and dtype; layers without any are left out."""
    table = matrix(run)
    worst: dict[tuple[str, str], Verdict] = {}
    for row in table.rows:
        for cell in row.cells:
            for verdict in cell.verdicts if cell else ():
                margin = _margin(verdict)
                before = worst.get((verdict.layer, verdict.dtype))
                if margin is not None and (before is None or margin > (_margin(before) or 0.0)):
                    worst[verdict.layer, verdict.dtype] = verdict
    met = {dtype for _, dtype in worst}
    columns = tuple(d for d in dtypes(run) if d in met)
    ulps: dict[tuple[str, str], Counter[str]] = {}
    for verdict in run.verdicts:
        ulps.setdefault((verdict.layer, verdict.dtype), Counter()).update(verdict.ulps)
    rows = ((layer, tuple(worst.get((layer, d)) for d in columns)) for layer in table.layers)
    return Margins(columns, tuple(row for row in rows if any(row[1])), ulps)


def dtypes(run: Run) -> tuple[str, ...]:
    """The dtypes of the run: those selected, then any others among its verdicts."""
    return tuple(dict.fromkeys((*run.identity.dtypes, *(v.dtype for v in run.verdicts))))


def devices(run: Run) -> tuple[str, ...]:
    """The devices of the run: those selected, then any others among its verdicts."""
    return tuple(dict.fromkeys((*run.identity.devices, *(v.device for v in run.verdicts))))


def _rank(verdict: Verdict) -> int:
    return SEVERITY.index(status(verdict))


def _margin(verdict: Verdict) -> float | None:
    margin = verdict.margin
    return None if margin is None or math.isnan(margin) else margin


def _tally(found: Iterable[Verdict], gap: int = 0) -> Tally:
    found = tuple(found)
    number = Counter(status(verdict) for verdict in found)
    met = [margin for verdict in found if (margin := _margin(verdict)) is not None]
    return Tally(
        status=next((name for name in SEVERITY if number[name]), "missing"),
        statuses={name: number[name] for name in SEVERITY if number[name]},
        missing=gap,
        drawn=sum(v.examples.drawn for v in found),
        checked=sum(v.examples.checked for v in found),
        declined=sum(sum(v.examples.unsupported.values()) for v in found),
        invalid=sum(v.examples.invalid for v in found),
        comparisons=sum(v.comparisons for v in found),
        margin=max(met, default=None),
    )


def _listed(run: Run, wanted: tuple[str, ...]) -> tuple[Verdict, ...]:
    listed: list[Verdict] = []
    for row in matrix(run).rows:
        for cell in row.cells:
            if cell:
                listed += sorted((v for v in cell.verdicts if status(v) in wanted), key=_rank)
    return tuple(listed)


def _gap(run: Run, lost: tuple[str, ...]) -> str:
    said = []
    if run.footer is None:
        said.append("the results have no last line, so the session was cut short or still runs")
    elif run.footer.verdicts > len(run.verdicts):
        said.append(f"{run.footer.verdicts - len(run.verdicts):d} verdicts cannot be read")
    if lost:
        verb = "has" if len(lost) == 1 else "have"
        total = len(set(run.identity.items))
        said.append(f"{len(lost):d} of {_items(total)} {verb} no verdict")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _items(number: int) -> str:
    return f"{number:d} item" if number == 1 else f"{number:d} items"


def _none(number: int) -> str:
    return f"{number:d}" if number else "none"


def _list(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
