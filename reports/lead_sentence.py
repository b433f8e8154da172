"""The run in one sentence for readers who know neither checks nor items: cases, then layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from conformance.reports.divergences import divergences
from conformance.reports.grades import conforming_share
from conformance.reports.matrix import LayerRow, matrix
from conformance.reports.results import Run
from conformance.reports.statuses import is_run_error, is_stale, status
from conformance.reports.text import cut

from conformance.model.case import Verdict

_LOST = ("crashed", "hung")


def lead_sentence(run: Run) -> str:
    """Say in how many test cases the backend conforms, and how many layers fail, and how."""
    identity = run.identity
    version = identity.info.get(identity.backend) or ""
    backend = f"{cut(identity.backend)} {cut(version)}".rstrip()
    totals = divergences(run)
    if not totals.checked:
        return f"{backend} has not been tested: {_nothing_tested(run)}."
    documentation = "its" if identity.backend == "torch" else "torch’s"
    conforming = conforming_share(totals.classes, totals.checked, totals.failed)
    return (
        f"{backend} does what {documentation} documentation says in {conforming} test cases: "
        f"{_layers(run)}."
    )


def _nothing_tested(run: Run) -> str:
    if run.benchmarks and not run.verdicts:
        return "the run only timed calls"
    if any(verdict.examples.declined for verdict in run.verdicts):
        return "it supports none of the calls that the suite made"
    return "no test case has a result"


def _layers(run: Run) -> str:
    """`of 298 layers, 12 fail (4 crash) and 144 fail only as listed`."""
    survey = run.identity.survey
    rows = [row for row in matrix(run).rows if row.tally.items]
    results = Counter(_result(row, survey=survey) for row in rows)
    total = len(rows)
    limit = " what was tested" if divergences(run).gaps else ""
    if results["pass"] == total:
        return f"{'its only layer passes' if total == 1 else f'all {total} layers pass'}{limit}"
    singular, plural = ("differs", "differ") if survey else ("fails", "fail")
    parts = []
    if results["fail"]:
        parts.append(f"{_count(results['fail'], singular, plural)}{_lost(rows)}")
    if results["known"]:
        parts.append(f"{_count(results['known'], singular, plural)} only as listed")
    if results["unsupported"]:
        parts.append(_count(results["unsupported"], "is not supported", "are not supported"))
    if results["open"]:
        parts.append(_count(results["open"], "is not fully tested", "are not fully tested"))
    if results["pass"] and len(parts) == 1:
        parts.append(f"{_count(results['pass'], 'passes', 'pass')}{limit}")
    if total == 1:
        return f"its only layer {parts[0].removeprefix('1 ')}"
    *first, last = parts
    listing = f"{', '.join(first)} and {last}" if first else last
    return f"of {total} layers, {listing}"


def _lost(rows: Sequence[LayerRow]) -> str:
    """` (4 crash and 1 hangs)`; empty if no call crashes or hangs."""
    crashed, hung = (sum(name in row.tally.statuses for row in rows) for name in _LOST)
    parts = [_count(crashed, "crashes", "crash")] if crashed else []
    parts += [_count(hung, "hangs", "hang")] if hung else []
    return f" ({' and '.join(parts)})" if parts else ""


def _result(row: LayerRow, *, survey: bool) -> str:
    """The worst result of a layer: fail, open, known or pass; unsupported if there is no other."""
    statuses = {_status(verdict, survey=survey) for verdict in _verdicts(row)}
    if statuses & {"crashed", "hung", "failed"}:
        return "fail"
    if "unchecked" in statuses or row.tally.missing:
        return "open"
    if "known" in statuses:
        return "known"
    return "pass" if "passed" in statuses else "unsupported"


def _status(verdict: Verdict, *, survey: bool) -> str:
    """The status; in a survey, errors of the run and stale entries are not the backend's."""
    if survey and is_run_error(verdict):
        return "unchecked"
    return "known" if survey and is_stale(verdict) else status(verdict)


def _verdicts(row: LayerRow) -> Iterable[Verdict]:
    return (verdict for cell in row.cells if cell for verdict in cell.verdicts)


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
