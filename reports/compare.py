"""Comparison of two runs: items fixed, broken, new, gone, or changed within their bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.reports.page import page
from conformance.reports.performance import benchmarks, good
from conformance.reports.results import Benchmark, Identity, ResultsError, Run
from conformance.reports.statuses import BAD, status, verdicts

from conformance.model.case import Verdict

KINDS = ("broken", "fixed", "new", "gone", "changed", "margin")
"""Kinds of changes of an item, in the order of the page."""

LIKE = ("suite", "profile", "seed", "examples", "shard", "drawn")
"""Fields that two runs must share to be compared."""

MARGIN = 2.0
"""The factor by which an error ÷ bound must change to be reported."""

NOTABLE = 0.05
"""Changes between values of error ÷ bound below this are ignored."""

SHOWN = 2000
"""Rows of one kind on the page."""


@dataclass(frozen=True)
class VerdictChange:
    """The change of one item between two runs.

    Args:
        kind: one of `KINDS`. `broken`: bad in B only. `changed`: another status, bad in both runs
            or in neither. `new`, `gone`: it has a verdict in one run only.
        before, after: its verdicts; None if there is none.
    """

    kind: str
    before: Verdict | None
    after: Verdict | None

    @property
    def verdict(self) -> Verdict:
        """The verdict in B, or in A if B has none."""
        found = self.after or self.before
        assert found is not None
        return found


@dataclass(frozen=True)
class Speed:
    """The times of one call in two runs.

    Args:
        before, after: its benchmark lines.
        factor: time in B ÷ time in A; above 1 is slower.
        certain: the intervals of their ratios to torch do not overlap.
    """

    before: Benchmark
    after: Benchmark
    factor: float
    certain: bool


@dataclass(frozen=True)
class Comparison:
    """Two runs.

    Args:
        before, after: the runs.
        unlike: fields of `LIKE` that differ: `"seed: 0 and 1"`.
        changes: the items that changed.
        same: number of unchanged items.
        speeds: the calls timed in both, the largest slowdown first.
    """

    before: Run
    after: Run
    unlike: tuple[str, ...]
    changes: tuple[VerdictChange, ...]
    same: int
    speeds: tuple[Speed, ...]

    def of(self, kind: str) -> tuple[VerdictChange, ...]:
        """The changes of a kind."""
        return tuple(change for change in self.changes if change.kind == kind)

    @property
    def sentence(self) -> str:
        """The comparison in a sentence."""
        counts = [f"{len(self.of(kind))} {_WORDS[kind]}" for kind in KINDS if self.of(kind)]
        rest = f"{self.same} items are as they were"
        return f"{', '.join(counts)}; {rest}." if counts else f"Nothing changed: {rest}."


_WORDS = {
    "broken": "broken",
    "fixed": "fixed",
    "new": "new",
    "gone": "gone",
    "changed": "of another status",
    "margin": "with another margin",
}


def compare(before: Run, after: Run, *, force: bool = False) -> Comparison:
    """Compare two runs item by item; their backends may differ.

    `force` also compares runs of other seeds, profiles or suite versions.

    Raises:
        ResultsError: if the runs differ in a field of `LIKE`, or have no item in common.
    """
    unlike = _unlike(before.identity, after.identity)
    if unlike and not force:
        raise ResultsError(
            f"unlike runs: {'; '.join(unlike)}; differences between them may be due to that "
            "(--force compares them anyway)"
        )
    old = {verdict.id: verdict for verdict in verdicts(before)}
    new = {verdict.id: verdict for verdict in verdicts(after)}
    timed = [*_speeds(before, after)]
    if not old.keys() & new.keys() and not timed:
        raise ResultsError(
            f"nothing to compare: none of {len(old)} verdicts of A and {len(new)} of B are about "
            "the same item"
        )
    every = dict.fromkeys((*old, *new))
    changes = [c for id in every if (c := _change(old.get(id), new.get(id))) is not None]
    changes.sort(key=lambda change: KINDS.index(change.kind))
    speeds = sorted(timed, key=lambda speed: -speed.factor)
    return Comparison(
        before, after, unlike, tuple(changes), len(every) - len(changes), tuple(speeds)
    )


def render(found: Comparison, names: tuple[str, str] = ("A", "B")) -> str:
    """Render the comparison as one HTML page; `names` are those of the two results files."""
    kept = {kind: found.of(kind)[:SHOWN] for kind in KINDS}
    rows = [change for changes in kept.values() for change in changes]
    return page(
        "compare.html",
        found=found,
        names=names,
        words=_WORDS,
        kinds=KINDS,
        number={kind: len(found.of(kind)) for kind in KINDS},
        kept=kept,
        statuses=_met(status(v) for c in rows for v in (c.before, c.after) if v),
        checks=_met(c.verdict.check for c in rows),
        dtypes=_met(c.verdict.dtype for c in rows),
        devices=_met(c.verdict.device for c in rows),
    )


def _met(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _unlike(before: Identity, after: Identity) -> tuple[str, ...]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in LIKE)
    return tuple(f"{name}: {_told(a)} and {_told(b)}" for name, a, b in pairs if a != b)


def _told(value: object) -> str:
    return "as usual" if value == "" else str(value)


def _change(before: Verdict | None, after: Verdict | None) -> VerdictChange | None:
    if before is None or after is None:
        return VerdictChange("new" if before is None else "gone", before, after)
    old, new = status(before), status(after)
    if (old in BAD) != (new in BAD):
        return VerdictChange("broken" if new in BAD else "fixed", before, after)
    if old != new:
        return VerdictChange("changed", before, after)
    a, b = before.margin, after.margin
    if a is None or b is None or math.isnan(a) or math.isnan(b) or max(a, b) < NOTABLE:
        return None
    return VerdictChange("margin", before, after) if max(a, b) > MARGIN * min(a, b) else None


def _speeds(before: Run, after: Run) -> Iterator[Speed]:
    def key(line: Benchmark) -> tuple[str, ...]:
        return line.layer, line.name, line.dtype, line.device, line.direction

    old = {key(line): line for line in benchmarks(before)}
    for line in benchmarks(after):
        other = old.get(key(line))
        if other is None or not good(line.seconds) or not good(other.seconds):
            continue
        assert line.seconds is not None
        assert other.seconds is not None
        yield Speed(other, line, line.seconds / other.seconds, _apart(other, line))


def _apart(before: Benchmark, after: Benchmark) -> bool:
    ends = before.ratio_low, before.ratio_high, after.ratio_low, after.ratio_high
    if any(end is None for end in ends):
        return False
    low, high, other_low, other_high = (end or 0.0 for end in ends)
    return high < other_low or other_high < low
