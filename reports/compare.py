"""Comparison of two runs: items fixed, broken, new, gone, or changed within their bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.reports.page import render_page
from conformance.reports.performance import benchmarks, is_drawable
from conformance.reports.results import Benchmark, Identity, ResultsError, Run
from conformance.reports.statuses import BAD, status, unique_verdicts

from conformance.model.case import Verdict

KINDS = ("broken", "fixed", "new", "gone", "changed", "margin")
"""Kinds of changes of an item, in the order of the page."""

SHARED_FIELDS = ("suite", "profile", "seed", "examples", "shard", "drawn")
"""Fields that two runs must share to be compared."""

MARGIN = 2.0
"""The factor by which an error ÷ bound must change to be reported."""

MIN_MARGIN = 0.05
"""Changes between values of error ÷ bound below this are ignored."""

MAX_ROWS = 2000
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
        verdict = self.after or self.before
        assert verdict is not None
        return verdict


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
        unlike: fields of `SHARED_FIELDS` that differ: `"seed: 0 and 1"`.
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
        unchanged = f"{self.same} items are as they were"
        return f"{', '.join(counts)}; {unchanged}." if counts else f"Nothing changed: {unchanged}."


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
        ResultsError: if the runs differ in a field of `SHARED_FIELDS`, or have no item in common.
    """
    unlike = _differing_fields(before.identity, after.identity)
    if unlike and not force:
        raise ResultsError(
            f"unlike runs: {'; '.join(unlike)}; differences between them may be due to that "
            "(--force compares them anyway)"
        )
    old = {verdict.id: verdict for verdict in unique_verdicts(before)}
    new = {verdict.id: verdict for verdict in unique_verdicts(after)}
    timed = [*_speeds(before, after)]
    if not old.keys() & new.keys() and not timed:
        raise ResultsError(
            f"nothing to compare: none of {len(old)} verdicts of A and {len(new)} of B are about "
            "the same item"
        )
    ids = dict.fromkeys((*old, *new))
    changes = [c for id in ids if (c := _change(old.get(id), new.get(id))) is not None]
    changes.sort(key=lambda change: KINDS.index(change.kind))
    speeds = sorted(timed, key=lambda speed: -speed.factor)
    return Comparison(before, after, unlike, tuple(changes), len(ids) - len(changes), tuple(speeds))


def render(comparison: Comparison, names: tuple[str, str] = ("A", "B")) -> str:
    """Render the comparison as one HTML page; `names` are those of the two results files."""
    shown_by_kind = {kind: comparison.of(kind)[:MAX_ROWS] for kind in KINDS}
    rows = [change for changes in shown_by_kind.values() for change in changes]
    return render_page(
        "compare.html",
        found=comparison,
        names=names,
        words=_WORDS,
        kinds=KINDS,
        number={kind: len(comparison.of(kind)) for kind in KINDS},
        kept=shown_by_kind,
        statuses=_unique(status(v) for c in rows for v in (c.before, c.after) if v),
        checks=_unique(c.verdict.check for c in rows),
        dtypes=_unique(c.verdict.dtype for c in rows),
        devices=_unique(c.verdict.device for c in rows),
    )


def _unique(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _differing_fields(before: Identity, after: Identity) -> tuple[str, ...]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in SHARED_FIELDS)
    return tuple(f"{name}: {_field_text(a)} and {_field_text(b)}" for name, a, b in pairs if a != b)


def _field_text(value: object) -> str:
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
    if a is None or b is None or math.isnan(a) or math.isnan(b) or max(a, b) < MIN_MARGIN:
        return None
    return VerdictChange("margin", before, after) if max(a, b) > MARGIN * min(a, b) else None


def _speeds(before: Run, after: Run) -> Iterator[Speed]:
    def key(line: Benchmark) -> tuple[str, ...]:
        return line.layer, line.name, line.dtype, line.device, line.direction

    old = {key(line): line for line in benchmarks(before)}
    for line in benchmarks(after):
        earlier = old.get(key(line))
        if earlier is None or not is_drawable(line.seconds) or not is_drawable(earlier.seconds):
            continue
        assert line.seconds is not None
        assert earlier.seconds is not None
        yield Speed(
            earlier, line, line.seconds / earlier.seconds, _intervals_disjoint(earlier, line)
        )


def _intervals_disjoint(before: Benchmark, after: Benchmark) -> bool:
    ends = before.ratio_low, before.ratio_high, after.ratio_low, after.ratio_high
    if any(end is None for end in ends):
        return False
    low, high, other_low, other_high = (end or 0.0 for end in ends)
    return high < other_low or other_high < low
