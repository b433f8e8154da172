"""Merging of results files into one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from conformance.reports import summary
from conformance.reports.results import Footer, ResultsError, Run

from conformance.model.shards import missing_shard_names, parse_shards

# Parts of one run agree in these fields.
_SHARED_FIELDS = (
    *("schema", "suite", "backend", "info", "torch", "standard", "profile", "seed", "examples"),
    "total",
)


def merge(runs: Sequence[Run]) -> Run:
    """Merge parts of a run, at least one; merging a file with itself changes nothing.

    Raises:
        ResultsError: if they are not parts of one run; the message names the field that differs.
    """
    first = runs[0]
    for later in runs[1:]:
        for name in _SHARED_FIELDS:
            first_value, other_value = getattr(first.identity, name), getattr(later.identity, name)
            if first_value != other_value:
                raise ResultsError(
                    f"not parts of one run: {name} is {first_value!r} and {other_value!r}"
                )
    if len(runs) == 1:
        return first
    joined = Run(
        replace(
            first.identity,
            items=tuple(dict.fromkeys(i for run in runs for i in run.identity.items)),
            shard=_shards(runs),
            started=min(run.identity.started for run in runs),
        ),
        tuple(verdict for run in runs for verdict in run.verdicts),
        benchmarks=tuple(line for run in runs for line in run.benchmarks),
        timing=tuple(line for run in runs for line in run.timing),
        notes=tuple(dict.fromkeys(note for run in runs for note in run.notes)),
    )
    joined = replace(joined, verdicts=summary.unique_verdicts(joined))
    footers = [run.footer for run in runs if run.footer is not None]
    if len(footers) < len(runs):
        return joined
    footer = Footer(
        counts=summary.count_statuses(joined),
        verdicts=len(joined.verdicts),
        seconds=max(footer.seconds for footer in footers),
        finished=max(footer.finished for footer in footers),
    )
    return replace(joined, footer=footer)


def merge_shards(runs: Iterable[Run]) -> Iterator[Run]:
    """Merge the files of each run: those that agree in all but shard, items and start."""
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        who = run.identity
        fields = tuple(repr(getattr(who, name)) for name in _SHARED_FIELDS)
        count = who.shard.rpartition("/")[2]
        # Whole runs are one run only if they are of one day: a night repeats the one before.
        day = who.started[:10] if who.shard == "1/1" else ""
        groups.setdefault((*fields, who.dtypes, who.devices, count, day), []).append(run)
    yield from map(merge, groups.values())


def _shards(runs: Sequence[Run]) -> str:
    present: set[int] = set()
    counts = set()
    for run in runs:
        indices, count = parse_shards(run.identity.shard)
        present |= indices
        counts.add(count)
    if len(counts) > 1:
        names = ", ".join(sorted(run.identity.shard for run in runs))
        raise ResultsError(f"not parts of one run: shards {names}")
    (count,) = counts
    if len(present) == count:
        return "1/1"
    return f"{','.join(str(i) for i in sorted(present))}/{count}"


def disagreements(runs: Sequence[Run]) -> tuple[str, ...]:
    """A line for each item whose verdicts differ in status; merging keeps the worst verdict."""
    statuses_by_item = dict[str, dict[str, None]]()
    for verdict in (verdict for run in runs for verdict in run.verdicts):
        statuses_by_item.setdefault(verdict.id, {})[verdict.status] = None
    return tuple(
        f"{id} is {' and '.join(statuses)}: the worst stays"
        for id, statuses in statuses_by_item.items()
        if len(statuses) > 1
    )


def missing_shards(run: Run) -> tuple[str, ...]:
    """The shards that a merged run lacks: `("2/4",)`; a long list ends with a number."""
    return missing_shard_names(*parse_shards(run.identity.shard))
