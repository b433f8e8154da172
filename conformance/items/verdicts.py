"""Build the verdict of an item from the outcomes of its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from conformance.items.planning import Item
from conformance.known.entry import Known
from conformance.model.case import UNREACHED, Examples, Verdict
from conformance.model.cause import Cause, Excuse, other_causes
from conformance.model.finding import Finding
from conformance.model.finding_text import text

NONE = Examples()
TOLD = ("call", "case", "needs", "share", "excess", "reproducer", "reference", "failure")
"""Fields that a verdict copies from the first of its causes."""
NOTHING = "nothing was compared: no example gave a number with a finite bound"


def begin(item: Item, examples: Examples = NONE) -> Verdict:
    """A verdict for an item that has only its counts so far."""
    return Verdict(item.id, item.layer, item.check, item.dtype, item.device, "unchecked", examples)


def wrong(verdict: Verdict, status: str, failure: Finding) -> Verdict:
    """Return the verdict with a status, and a failure with its text as the message."""
    return replace(verdict, status=status, failure=failure, message=text(failure))


def conclude(verdict: Verdict, excuses: Sequence[Excuse], inapplicable: str = "") -> Verdict:
    """Set the status of an item without new failures.

    It is `known` only if a case of this run failed as a known failure says. Otherwise it is
    `passed`, `unsupported` if all cases were declined, or `unchecked` if nothing was compared. If
    the backend counts the functions under test and none ran, nothing was compared.

    Args:
        verdict: the item's counts and comparisons.
        excuses: the known failures that apply.
        inapplicable: the most frequent reason why the check did not apply.
    """
    verdict, examples = replace(verdict, excuses=tuple(excuses)), verdict.examples
    explaining = [excuse for excuse in excuses if excuse.excused]
    if explaining:
        message = f"known failure: {'; '.join(map(_reason, explaining))}"
        return replace(verdict, status="known", message=message)
    unreached = bool(verdict.hits) and not any(verdict.hits.values())
    reasons = any(reason.startswith(UNREACHED) for reason in examples.unsupported)
    if unreached and (examples.checked or reasons):
        return wrong(
            verdict, "unchecked", Finding("unchecked", UNREACHED + ", ".join(verdict.hits))
        )
    if examples.checked and verdict.comparisons:
        return replace(verdict, status="passed", message=_format_notes(examples, excuses))
    if examples.unsupported and not examples.checked:
        reason = max(examples.unsupported, key=lambda r: examples.unsupported[r])
        count = f"{len(examples.unsupported)} reasons, " if len(examples.unsupported) > 1 else ""
        message = f"{count}most often: {reason}"
        return replace(verdict, status="unsupported", message=message)
    notes = _format_notes(examples, excuses)
    if inapplicable and not examples.checked:
        notes = f"{notes}; most often: {inapplicable}" if notes else f"most often: {inapplicable}"
    return wrong(verdict, "unchecked", Finding("unchecked", NOTHING, f"({notes})" if notes else ""))


def _reason(excuse: Excuse) -> str:
    inherited = f" (inherited from {excuse.base})" if excuse.base else ""
    return excuse.reason + (f" ({excuse.link})" if excuse.link else "") + inherited


def _format_notes(examples: Examples, excuses: Sequence[Excuse]) -> str | None:
    """`2 known failures apply, 14 cases left out`; None if there are no notes."""
    parts = []
    if count := len([e for e in excuses if not e.base]):
        parts.append("1 known failure applies" if count == 1 else f"{count} known failures apply")
    if examples.left_out:
        parts.append(f"{_cases(examples.left_out)} left out")
    if examples.lost:
        parts.append(f"{_cases(examples.lost)} lost")
    if examples.stopped and not examples.checked:
        parts.append(f"{_cases(examples.stopped)} beyond the time budget")
    return ", ".join(parts) or None


def _cases(number: int) -> str:
    return "1 case" if number == 1 else f"{number} cases"


def failed(verdict: Verdict, causes: Sequence[Cause]) -> Verdict:
    """The verdict of an item that fails for one or several causes.

    Args:
        verdict: the item's counts, comparisons, and the known failures that apply.
        causes: at least one; the verdict describes the one with the worst status first.
    """
    order = ("crashed", "hung", "failed")
    distinct = {(cause.status, cause.call, cause.message): cause for cause in causes}
    first, *others = sorted(distinct.values(), key=lambda cause: order.index(cause.status))
    message = first.message + other_causes(others)
    told: dict[str, Any] = {name: getattr(first, name) for name in TOLD}
    return replace(verdict, status=first.status, others=tuple(others), message=message, **told)


def inheriting(verdict: Verdict, inherited: Sequence[Excuse]) -> Verdict:
    """Add lost cases that the backend inherits: its base loses the process on them, too."""
    if not inherited:
        return verdict
    number = sum(excuse.excused for excuse in inherited)
    examples = _with_lost(verdict.examples, number, excused=number)
    verdict = replace(verdict, examples=examples, excuses=(*verdict.excuses, *inherited))
    if verdict.status not in ("passed", "unchecked", "unsupported"):
        return verdict
    message = f"known failure: {'; '.join(map(_reason, inherited))}"
    return replace(verdict, status="known", message=message, failure=None)


def joined(verdict: Verdict, lost: Sequence[Cause]) -> Verdict:
    """Add the causes of cases that ended the process to the verdict on the other cases.

    Args:
        lost: one cause for each case that ended the process.
    """
    if not lost:
        return verdict
    causes = [*lost]
    if verdict.status == "failed":
        own = {name: getattr(verdict, name) for name in TOLD}
        causes += [Cause(verdict.own_message, **own), *verdict.others]
    examples = _with_lost(verdict.examples, len(lost))
    return failed(replace(verdict, examples=examples), causes)


def _with_lost(examples: Examples, number: int, *, excused: int = 0) -> Examples:
    """Count `number` lost cases as checked and failed."""
    return replace(
        examples,
        checked=examples.checked + number,
        failed=examples.failed + number,
        excused=examples.excused + excused,
        lost=max(examples.lost - number, 0),
    )


def left_out(item: Item, examples: int) -> Verdict:
    """The verdict of an item that the run's time budget left out."""
    failure = Finding("unchecked", "left out: the run is behind its time budget")
    return wrong(begin(item, Examples(stopped=examples)), "unchecked", failure)


def stale(item: Item, entries: Sequence[tuple[Known, str]]) -> Verdict:
    """The verdict of an item with stale known failures.

    Args:
        entries: known failures whose pinned case no longer fails, each with what it does now.
    """
    reasons = "; ".join(f"{entry.reason} (its pinned case {now})" for entry, now in entries)
    failure = Finding("stale", says=f"stale known failure; remove the entry: {reasons}")
    return wrong(begin(item, Examples(len(entries), len(entries))), "failed", failure)
