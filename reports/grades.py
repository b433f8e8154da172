"""Grades of layers and of a whole run, and the share of cases that conform by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.reports.results import Run
from conformance.reports.statuses import BAD, dtypes, status, unique_verdicts
from conformance.reports.text import grouped, share

from conformance.model.case import Verdict
from conformance.model.grades import (
    CLASSES,
    GRADES,
    LETTERS,
    WRONG,
    ClassCounts,
    add_class_counts,
    worst_grade,
)


@dataclass(frozen=True)
class GradeTable:
    """Layers × dtypes with the worst grade of each, over all checks and devices.

    Args:
        dtypes: the columns.
        rows: a layer, and its grade in each dtype; empty where no numbers have a bound.
        counts: number of cases by grade, the best first.
    """

    dtypes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    counts: Mapping[str, int]


def grade_of(verdict: Verdict) -> str:
    """The worst grade of a verdict's cases; empty if no numbers have a bound.

    Known failures do not count: they are worse than the promised grade, and are listed elsewhere.
    """
    present = [name for name, number in verdict.grades.items() if number]
    return worst_grade(present, WRONG if status(verdict) in BAD else verdict.promised)


def worst_of(verdicts: Iterable[Verdict]) -> str:
    """The worst grade of several verdicts; empty if none has a grade."""
    return worst_grade(map(grade_of, verdicts))


def letter(grade: str) -> str:
    """The letter of a grade, from A for the best; empty for none."""
    return LETTERS.get(grade, "")


def grade_table(run: Run) -> GradeTable:
    """The grades of a run; layers without a grade are left out."""
    groups: dict[str, dict[str, list[Verdict]]] = {}
    counts: Counter[str] = Counter()
    for verdict in unique_verdicts(run):
        groups.setdefault(verdict.layer, {}).setdefault(verdict.dtype, []).append(verdict)
        counts.update({name: verdict.grades.get(name, 0) for name in GRADES})
    names = dtypes(run)
    rows = [
        (layer, tuple(worst_of(by_dtype.get(name, ())) for name in names))
        for layer, by_dtype in groups.items()
    ]
    return GradeTable(
        names,
        tuple(row for row in rows if any(row[1])),
        {name: counts[name] for name in GRADES if counts[name]},
    )


def class_counts(verdicts: Iterable[Verdict]) -> dict[str, ClassCounts]:
    """Counts of examples by class; empty for files of older versions."""
    return add_class_counts(verdict.examples.classes for verdict in verdicts)


def conforming_share(classes: Mapping[str, ClassCounts], checked: int, failed: int) -> str:
    """`98.9 % of 60 123 ordinary, 91 % of 1 200 extremal and 85 % of 3 400 empty`.

    Without classes, or with ordinary examples only: `98.9 % of 60 123`.

    Args:
        checked, failed: all examples, with or without a class.
    """
    known = [name for name in CLASSES if name in classes]
    if known in ([], [*CLASSES][:1]):
        return _share_text(checked, failed)
    parts = [f"{_share_text(classes[n].checked, classes[n].failed)} {n}" for n in known]
    return _join(parts)


def _share_text(checked: int, failed: int) -> str:
    return f"{share(checked - failed, checked)} of {grouped(checked)}"


def _join(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
