"""Validation of results files: limits of each record, and consistency between records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from conformance.model.case import COLUMN_DIGITS, STATUSES, Verdict
from conformance.model.plain_text import bounded
from conformance.model.shards import parse_shards, shard_of

MAX_DEPTH = 32
"""The deepest nesting of a line's data."""
MAX_COUNT = 10**15
"""The largest count."""
MAX_NAME = 1000
"""The most characters of an id or another name."""


class IdentityLike(Protocol):
    """The first line; see `conformance.reports.results.Identity`."""

    @property
    def suite(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def shard(self) -> str: ...
    @property
    def items(self) -> tuple[str, ...]: ...
    @property
    def total(self) -> int: ...
    @property
    def catalogue(self) -> Mapping[str, int]: ...


class FooterLike(Protocol):
    """The last line; see `conformance.reports.results.Footer`."""

    @property
    def counts(self) -> Mapping[str, int]: ...
    @property
    def verdicts(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class RunLike(Protocol):
    """All lines; see `conformance.reports.results.Run`."""

    @property
    def identity(self) -> IdentityLike: ...
    @property
    def verdicts(self) -> tuple[Verdict, ...]: ...
    @property
    def benchmarks(self) -> tuple[Mapping[str, Any], ...]: ...


class BenchmarkLike(Protocol):
    """A line of kind "benchmark"; see `conformance.reports.results.Benchmark`."""

    @property
    def status(self) -> str: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def ratio_low(self) -> float | None: ...
    @property
    def ratio_high(self) -> float | None: ...


_OUTCOME_RUN = re.compile(r"([0-9]{1,6})([a-z])")
_OUTCOMES = re.compile(r"([0-9]{1,6}[a-z])*")
_HISTOGRAM_KEY = re.compile(r"exact|-?[0-9]{1,5}")


def depth_fault(data: Any) -> str:
    """Say if data is nested too deeply; empty if not."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH} levels"
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return ""


def identity_fault(identity: IdentityLike) -> str:
    """Say what is wrong with the first line; empty if nothing is."""
    try:
        parse_shards(identity.shard)
    except ValueError as error:
        return f"shard {_quoted(identity.shard)}: {error}"
    counts = {name: getattr(identity, name) for name in ("schema", "examples", "total")}
    counts |= {f"catalogue: {_bounded(name)}": n for name, n in identity.catalogue.items()}
    for name, number in counts.items():
        if not 0 <= number <= MAX_COUNT:
            return f"{name} is {number}, expected a count"
    names = {name: (getattr(identity, name),) for name in ("backend", "suite")}
    faults_of = (
        _names_fault(field, names_of_field)
        for field, names_of_field in {**names, "items": identity.items}.items()
    )
    return next(filter(None, faults_of), "")


def verdict_fault(verdict: Verdict) -> str:
    """Say what is wrong within a verdict; empty if nothing is."""
    for name in ("id", "layer", "check", "dtype", "device", "status"):
        if wrong := _names_fault(name, [getattr(verdict, name)]):
            return wrong
    for words, number in _counts(verdict):
        if not 0 <= number <= MAX_COUNT:
            return f"{_bounded(' '.join(words))} is {number}, expected a count"
    for field in ("ulps", "ratios"):
        for key in getattr(verdict, field):
            if not _HISTOGRAM_KEY.fullmatch(key):
                return f"{field} has {_quoted(key)}, expected 'exact' or a whole number"
    for name in ("seconds", "margin"):
        value = getattr(verdict, name)
        if value is not None and not value >= 0:
            return f"{name} is {value}, expected a number of at least 0"
    if not _OUTCOMES.fullmatch(verdict.outcomes):
        return f"outcomes {_quoted(verdict.outcomes)}: expected such as '40p3f157p'"
    for field_name, value in _numbers_as_text(verdict):
        if not _is_number(value):
            return f"{field_name} is {_quoted(str(value))}, expected a number"
    for name, column in (verdict.drawn or {}).items():
        if not set(column.cases) <= set(COLUMN_DIGITS[: len(column.values)]):
            count = len(column.values)
            return f"drawn: {_quoted(name)} has a case with none of its {count} values"
    return ""


def _counts(verdict: Verdict) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every count of a verdict, with the words that name it."""
    examples = verdict.examples
    for name in _COUNTS:
        yield ("examples:", name), getattr(examples, name)
    for prefix, counts in (
        ("examples: unsupported:", examples.unsupported),
        ("accepted:", verdict.accepted),
        ("hits:", verdict.hits),
        ("grades:", verdict.grades),
        ("ulps", verdict.ulps),
        ("ratios", verdict.ratios),
    ):
        for name, number in counts.items():
            yield (prefix, name), number
    for class_name, by_class in examples.classes.items():
        for name in ("checked", "failed", "excused"):
            yield ("examples: classes:", class_name, name), getattr(by_class, name)
    yield ("comparisons",), verdict.comparisons


def footer_fault(footer: FooterLike) -> str:
    """Say what is wrong with the last line; empty if nothing is."""
    counts = {f"counts: {status}": number for status, number in footer.counts.items()}
    for name, number in {**counts, "verdicts": footer.verdicts}.items():
        if not 0 <= number <= MAX_COUNT:
            return f"{_bounded(name)} is {number}, expected a count"
    return "" if footer.seconds >= 0 else f"seconds is {footer.seconds}, expected at least 0"


def benchmark_fault(timed: BenchmarkLike) -> str:
    """Say what is wrong with a benchmark; empty if nothing is."""
    if timed.status == "timed" and timed.seconds is None:
        return "seconds is None in a timed benchmark"
    low, high = timed.ratio_low, timed.ratio_high
    if low is not None and high is not None and low > high:
        return f"ratio_low is {low:g}, above ratio_high, {high:g}"
    return ""


def contradictions(run: RunLike) -> Iterator[str]:
    """Yield a line for each contradiction between the records of a run, which are valid each."""
    who = run.identity
    present, count = parse_shards(who.shard)
    for id, number in sorted(Counter(who.items).items()):
        if number > 1:
            yield f"{_bounded(id)}: {number} times among the items of the first line"
        if count > 1 and shard_of(id, count) not in present:
            yield f"{_bounded(id)}: belongs to shard {shard_of(id, count)}/{count}, not {who.shard}"
    if len(set(who.items)) > who.total or (count == len(present) and len(who.items) != who.total):
        yield f"the first line has {len(who.items)} items, and a total of {who.total}"
    if not (who.total or run.verdicts or run.benchmarks):
        yield "nothing was run: no items, no verdicts and no benchmarks"
    items = set(who.items)
    for verdict in run.verdicts:
        expected_id = f"{verdict.layer}-{verdict.check}-{verdict.dtype}-{verdict.device}"
        if verdict.id != expected_id:
            yield f"{_bounded(verdict.id)}: its verdict is about {_bounded(expected_id)}"
        if verdict.id not in items:
            yield f"{_bounded(verdict.id)}: a verdict on an item that the first line lacks"
        if verdict.status not in STATUSES:
            yield f"{_bounded(verdict.id)}: unknown status {_quoted(verdict.status)}"
        yield from (f"{_bounded(verdict.id)}: {fault}" for fault in _count_contradictions(verdict))


def _count_contradictions(verdict: Verdict) -> Iterator[str]:
    """Yield a line for each contradiction between the counts of a verdict, or with its status."""
    examples = verdict.examples
    if examples.checked > examples.drawn:
        yield f"{examples.checked} examples checked of {examples.drawn} drawn"
    if examples.failed > examples.checked:
        yield f"{examples.failed} examples failed of {examples.checked} checked"
    if examples.excused > examples.failed:
        yield f"{examples.excused} examples excused of {examples.failed} that failed"
    letters = Counter[str]()
    for number, letter in _OUTCOME_RUN.findall(verdict.outcomes):
        letters[letter] += int(number)
    for kinds, name, count in (
        ("pfk", "checked", examples.checked),
        ("fk", "failed", examples.failed),
        ("k", "excused", examples.excused),
        ("d", "unsupported", examples.declined),
        ("b", "invalid", examples.invalid),
        ("x", "left_out", examples.left_out),
    ):
        outcome_count = sum(letters[letter] for letter in kinds)
        if outcome_count > count:
            yield f"outcomes have {outcome_count} cases {name}, examples {count}"
    if verdict.status == "passed":
        if examples.failed:
            yield f"passed, and {examples.failed} of its examples failed"
        if verdict.hits and not any(verdict.hits.values()):
            yield f"passed, and none of {', '.join(map(_bounded, verdict.hits))} ran"
        if not (examples.checked and verdict.comparisons):
            yield (
                f"passed, with {examples.checked} examples checked and "
                f"{verdict.comparisons} numbers compared"
            )


_COUNTS = (
    "drawn", "checked", "invalid", "stopped", "failed", "excused", "left_out", "lost"
)  # fmt: skip


def _names_fault(field: str, names: Any) -> str:
    long = next((name for name in names if not 0 < len(name) <= MAX_NAME), None)
    expected = f"expected 1 to {MAX_NAME} characters"
    return "" if long is None else f"{field} has {len(long)} characters, {expected}"


def _numbers_as_text(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    """Numbers that may be written as text, because JSON has no infinities and no NaN."""
    yield "excess", verdict.excess
    findings = [verdict.failure, *(cause.failure for cause in verdict.others)]
    for finding in findings:
        if finding is not None:
            yield "bound", finding.bound
            yield "error", finding.error
    for cause in verdict.others:
        yield "excess", cause.excess


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or value in ("inf", "-inf", "nan")


def _bounded(text: str) -> str:
    return bounded(text, 200)


def _quoted(text: str) -> str:
    return repr(bounded(text, 80))
