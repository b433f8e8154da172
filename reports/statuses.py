"""Statuses of a run's verdicts, and items without a verdict."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

from conformance.reports.results import Run

from conformance.model.case import STATUSES, Verdict

Value = TypeVar("Value")

SEVERITY = ("crashed", "hung", "failed", "unchecked", "known", "passed", "unsupported")
"""Statuses, worst first: the order in which a cell of the matrix chooses among its verdicts.

`unsupported` comes last: a cell shows it only if all its verdicts do. `support_gaps` lists those.
"""

BAD = ("crashed", "hung", "failed", "unchecked")
"""Statuses that make a run fail."""

PARTIAL = "partly"
"""Status on a scoreboard: nothing fails, but something is unsupported or was not run."""

GLYPHS: Mapping[str, str] = {
    "passed": "✓",
    "failed": "✗",
    "crashed": "◆",
    "hung": "◷",
    "unsupported": "–",
    "known": "≈",
    "unchecked": "?",
    "missing": "…",
    PARTIAL: "◐",
}
"""One character for each status, for an item without a verdict (`"missing"`), and for `PARTIAL`."""


def status(verdict: Verdict) -> str:
    """The status of a verdict; a status that this version does not know counts as `unchecked`."""
    return verdict.status if verdict.status in STATUSES else "unchecked"


def cached_per_run(compute: Callable[[Run], Value]) -> Callable[[Run], Value]:
    """Cache a function of a run: compute it once for each run, and store the value with the run."""

    name = f"{compute.__module__}.{compute.__qualname__}"

    @functools.wraps(compute)
    def cached(run: Run) -> Value:
        values = vars(run)
        if name not in values:
            values[name] = compute(run)
        value: Value = values[name]
        return value

    return cached


@cached_per_run
def unique_verdicts(run: Run) -> tuple[Verdict, ...]:
    """One verdict for each id: of several the worst, and of equally bad ones the later."""
    worst_by_id: dict[str, Verdict] = {}
    for verdict in run.verdicts:
        current = worst_by_id.get(verdict.id)
        if current is None or severity_rank(verdict) <= severity_rank(current):
            worst_by_id[verdict.id] = verdict
    return tuple(worst_by_id.values())


def count_statuses(run: Run) -> dict[str, int]:
    """Number of verdicts by status; has every status, in the order of `STATUSES`."""
    numbers = Counter(status(verdict) for verdict in unique_verdicts(run))
    return {name: numbers[name] for name in STATUSES}


@cached_per_run
def items_without_verdict(run: Run) -> tuple[str, ...]:
    """Ids of the items that the run announced, but that have no verdict."""
    ids_with_verdict = {verdict.id for verdict in run.verdicts}
    return tuple(item for item in dict.fromkeys(run.identity.items) if item not in ids_with_verdict)


def dtypes(run: Run) -> tuple[str, ...]:
    """The dtypes of the run: those selected, then any others among its verdicts."""
    return tuple(dict.fromkeys((*run.identity.dtypes, *(v.dtype for v in run.verdicts))))


def devices(run: Run) -> tuple[str, ...]:
    """The devices of the run: those selected, then any others among its verdicts."""
    return tuple(dict.fromkeys((*run.identity.devices, *(v.device for v in run.verdicts))))


def is_ok(run: Run) -> bool:
    """Whether the session may exit with 0: no status of `BAD`, and something passed or is known.

    A survey may exit with 0 unless it went wrong itself. An interrupted session has its own exit
    status, so the run need not be complete, and may lack a footer.
    """
    if run.identity.survey:
        return not has_run_error(run)
    numbers = count_statuses(run)
    compared = numbers["passed"] + numbers["known"]
    return compared > 0 and not any(numbers[name] for name in BAD)


def is_left_out(verdict: Verdict) -> bool:
    """Whether a time budget left no time for the item of a verdict."""
    examples = verdict.examples
    return status(verdict) == "unchecked" and examples.stopped > 0 and not examples.drawn


def is_run_error(verdict: Verdict) -> bool:
    """Whether a verdict reports an error of the run, not of the backend.

    Nothing was compared, the suite's own code failed, or one of its processes was lost. That a
    machine is too slow for a time budget is no error.
    """
    kind = verdict.failure.kind if verdict.failure is not None else ""
    is_unchecked = status(verdict) == "unchecked" and not is_left_out(verdict)
    return is_unchecked or kind == "internal"


def is_stale(verdict: Verdict) -> bool:
    """Whether a verdict reports a known failure that no longer occurs where it was seen."""
    return verdict.failure is not None and verdict.failure.kind == "stale"


def has_run_error(run: Run) -> bool:
    """Whether a survey itself went wrong: an item has a run error, or no case was checked."""
    any_checked = any(verdict.examples.checked for verdict in run.verdicts)
    return not any_checked or any(map(is_run_error, run.verdicts))


def severity_rank(verdict: Verdict) -> int:
    """The place of a verdict's status among `SEVERITY`."""
    return SEVERITY.index(status(verdict))
