"""Scoreboard of several backends: layers × backends, with shares of one common space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from conformance.reports import summary
from conformance.reports.grades import letter, worst_of
from conformance.reports.merge import merge_shards, missing_shards
from conformance.reports.results import Identity, ResultsError, Run
from conformance.reports.statuses import PARTIAL

from conformance.model.case import Verdict
from conformance.model.checks import facts_of, in_column_order
from conformance.model.layer_facts import LayerFacts

# Runs that differ in one of these drew other cases, or judged them differently.
SHARED_FIELDS = ("suite", "profile", "seed", "examples")

Item = tuple[str, str, str]  # layer, check and dtype: one item of the space


@dataclass(frozen=True)
class ScoreCell:
    """One layer, or all of them, on one backend.

    Args:
        items: number of items in the space, the same for every backend.
        run: number of these with a verdict, or not offered by the backend.
        conforming: Σ over passed items of the share of examples that passed, ÷ items.
        supported: Σ over all items of the share of examples not declined, ÷ items.
        failures, known: failing verdicts, and known failures, by cause.
        status: the worst status, `PARTIAL`, or `"missing"` if nothing was run.
        letter: the letter of the worst grade; empty if no numbers have a bound.
    """

    items: int
    run: int
    conforming: Fraction
    supported: Fraction
    failures: tuple[summary.Cluster, ...]
    known: tuple[summary.Cluster, ...]
    status: str
    letter: str = ""


@dataclass(frozen=True)
class BackendColumn:
    """One backend, in one version, on one device.

    Args:
        backend, device: names.
        parts: its runs, with shards merged.
        cells: one for each of the board's layers.
        total: the cell over all layers.
    """

    backend: str
    device: str
    parts: tuple[Run, ...]
    cells: tuple[ScoreCell, ...] = ()
    total: ScoreCell | None = None

    @property
    def identity(self) -> Identity:
        """The identity of its first run."""
        return self.parts[0].identity

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Dtypes selected in any of its runs."""
        return tuple(dict.fromkeys(d for part in self.parts for d in part.identity.dtypes))

    @property
    def numerics(self) -> Mapping[str, Mapping[str, str]]:
        """Numerics that the backend declares, by dtype."""
        return {k: v for part in self.parts for k, v in part.identity.numerics.items()}

    @property
    def gaps(self) -> tuple[str, ...]:
        """Reasons why its results are incomplete."""
        return tuple(dict.fromkeys(gap for part in self.parts for gap in _gaps(part)))


@dataclass(frozen=True)
class Board:
    """Layers × backends.

    Args:
        layers, checks, dtypes: the space, in the order of the runs.
        items: number of combinations layer × check × dtype that any backend was asked for.
        columns: one for each backend, version and device.
        notes: warnings for readers who compare the columns.
    """

    layers: tuple[str, ...]
    checks: tuple[str, ...]
    dtypes: tuple[str, ...]
    items: int
    columns: tuple[BackendColumn, ...]
    notes: tuple[str, ...]

    @property
    def identity(self) -> Identity:
        """An identity, for the fields that all runs share."""
        return self.columns[0].identity


def board(runs: Sequence[Run], names: Sequence[str] = ()) -> Board:
    """Put runs side by side, at least one; runs of one backend share a column.

    `names` are those of the files, for messages.

    Raises:
        ResultsError: if the runs cannot be compared; the message names the field that differs.
    """
    names = names or [f"run {k}" for k in range(1, len(runs) + 1)]
    _require_comparable(runs, names)
    columns = tuple(_columns(runs))
    space = tuple(dict.fromkeys(item for column in columns for item in _items_of_column(column)))
    if not space:
        raise ResultsError("no item of a conformance check in these results")
    layers = tuple(dict.fromkeys(layer for layer, _, _ in space))
    return Board(
        layers,
        in_column_order(check for _, check, _ in space),
        tuple(dict.fromkeys(dtype for _, _, dtype in space)),
        len(space),
        tuple(_fill_cells(column, layers, space) for column in columns),
        tuple(_notes(columns)),
    )


def _require_comparable(runs: Sequence[Run], names: Sequence[str]) -> None:
    first = runs[0].identity
    for name, run in zip(names, runs, strict=True):
        for field in SHARED_FIELDS:
            first_value, other_value = getattr(first, field), getattr(run.identity, field)
            if first_value != other_value:
                raise ResultsError(
                    f"not comparable: {field} is {first_value!r} in {names[0]} "
                    f"and {other_value!r} in {name}"
                )


def _columns(runs: Sequence[Run]) -> Iterator[BackendColumn]:
    backends: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        who = run.identity
        key = (who.backend, tuple(sorted(who.info.items())), who.torch)
        backends.setdefault(key, []).append(run)
    for backend_runs in backends.values():
        parts = tuple(merge_shards(backend_runs))
        devices = dict.fromkeys(d for part in parts for d in summary.devices(part))
        for device in devices:
            runs_on_device = tuple(part for part in parts if device in summary.devices(part))
            yield BackendColumn(backend_runs[0].identity.backend, device, runs_on_device)


def _gaps(part: Run) -> Iterator[str]:
    if part.footer is None:
        yield "the session was cut short"
    for shard in missing_shards(part):
        yield f"shard {shard} is missing"
    if part.notes:
        yield f"{len(part.notes)} unreadable lines"


def _items_of(part: Run, device: str) -> Iterator[Item]:
    """The items that a run announced or has a verdict for."""
    for item in (*part.identity.items, *(verdict.id for verdict in part.verdicts)):
        layer, check, dtype, on = (*item.split("-", 3), "", "", "", "")[:4]
        if on == device and not facts_of(check).on_request:
            yield layer, check, dtype


def _items_of_column(column: BackendColumn) -> Iterator[Item]:
    for part in column.parts:
        yield from _items_of(part, column.device)


def _fill_cells(
    column: BackendColumn, layers: Sequence[str], space: Sequence[Item]
) -> BackendColumn:
    all_verdicts = Run(column.identity, tuple(v for part in column.parts for v in part.verdicts))
    verdicts = {
        (v.layer, v.check, v.dtype): v
        for v in summary.unique_verdicts(all_verdicts)
        if v.device == column.device
    }
    declined = _not_offered(column, space)

    facts = {name: x for part in column.parts for name, x in part.identity.layers.items()}

    def cell(items: Sequence[Item]) -> ScoreCell:
        item_verdicts = [verdicts.get(p) for p in items]
        return _cell(item_verdicts, sum(p in declined for p in items), facts)

    cells = tuple(cell([p for p in space if p[0] == layer]) for layer in layers)
    return replace(column, cells=cells, total=cell(space))


def _not_offered(column: BackendColumn, space: Sequence[Item]) -> set[Item]:
    """Selected items that a complete run left out: the backend does not offer the dtype."""
    left_out: set[Item] = set()
    for part in column.parts:
        if missing_shards(part):
            continue
        run_items = set(_items_of(part, column.device))
        layers, checks = {p[0] for p in run_items}, {p[1] for p in run_items}
        left_out |= {
            p
            for p in space
            if p not in run_items
            and p[0] in layers
            and p[1] in checks
            and p[2] in part.identity.dtypes
        }
    return left_out - set(_items_of_column(column))


def _cell(
    verdicts: Sequence[Verdict | None], not_offered: int, facts: Mapping[str, LayerFacts]
) -> ScoreCell:
    present_verdicts = [verdict for verdict in verdicts if verdict is not None]
    passed = [v for v in present_verdicts if summary.status(v) == "passed"]
    count = len(verdicts)
    conforming = sum((_share(v, stopped=True) for v in passed), Fraction(0)) / count
    supported = sum((_share(v, stopped=False) for v in present_verdicts), Fraction(0)) / count
    statuses = {summary.status(v) for v in present_verdicts} | (
        {"unsupported"} if not_offered else set()
    )
    status = next((name for name in summary.SEVERITY if name in statuses), "missing")
    if status in ("unsupported", "passed") and "passed" in statuses:
        status = "passed" if conforming == 1 else PARTIAL
    return ScoreCell(
        count,
        len(present_verdicts) + not_offered,
        conforming,
        supported,
        summary.clusters([v for v in present_verdicts if summary.status(v) in summary.BAD], facts),
        summary.clusters([v for v in present_verdicts if summary.status(v) == "known"], facts),
        status,
        letter(worst_of(present_verdicts)),
    )


def _share(verdict: Verdict, *, stopped: bool) -> Fraction:
    """The share of examples that the backend answered, among those that the check applies to."""
    examples = verdict.examples
    checked, declined = examples.checked, sum(examples.unsupported.values())
    total = checked + declined + (examples.stopped if stopped else 0)
    return Fraction(checked, total) if total > 0 else Fraction(0)


def _notes(columns: Sequence[BackendColumn]) -> Iterator[str]:
    versions = dict.fromkeys(part.identity.hypothesis for c in columns for part in c.parts)
    if len(versions) > 1:
        yield (
            f"Hypothesis differs ({', '.join(versions)}): another version may draw other cases "
            "from the same seed."
        )
    for column in columns:
        values = column.identity.options.get("values of each structure", "1")
        if values != "1":
            yield (
                f"{column.backend} asks for {values} cases of each structure, so that it met "
                "fewer structures than a backend that does not."
            )
