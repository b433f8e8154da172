"""Build the verdict of an item from the outcomes of its examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.items.planning import Item
from conformance.known.entry import KnownFailure
from conformance.model.case import UNREACHED_PREFIX, Examples, Verdict
from conformance.model.cause import Cause, Excuse, other_causes_text
from conformance.model.finding import Finding
from conformance.model.finding_text import finding_message
from conformance.model.grades import CLASSES, ORDINARY, ClassCounts, add_class_counts

if TYPE_CHECKING:
    from conformance.items.outcomes import Outcome

NO_EXAMPLES = Examples()
NONE = ClassCounts()
CAUSE_FIELDS = ("call", "case", "needs", "share", "excess", "reproducer", "reference", "failure")
"""Fields that a verdict copies from the first of its causes."""
NO_CASE_CHECKED = "nothing was compared: the check could judge no case"
NO_FINITE_BOUND = "nothing was compared: no expected number has a finite bound"


def open_verdict(item: Item, examples: Examples = NO_EXAMPLES) -> Verdict:
    """A verdict for an item that has only its counts so far."""
    return Verdict(item.id, item.layer, item.check, item.dtype, item.device, "unchecked", examples)


def with_failure(verdict: Verdict, status: str, failure: Finding) -> Verdict:
    """Return the verdict with a status, and a failure with its text as the message."""
    return replace(verdict, status=status, failure=failure, message=finding_message(failure))


def conclude_verdict(
    verdict: Verdict, excuses: Sequence[Excuse], inapplicable: str = ""
) -> Verdict:
    """Set the status of an item without new failures.

    It is `known` only if an ordinary case of this run failed as a known failure says, or if all
    cases that were compared are of another class. Otherwise it is `passed`, `unsupported` if all
    cases were declined or are invalid calls that may be accepted, or `unchecked` if nothing was
    compared. If the backend counts the functions under test and none ran, nothing was compared.

    Args:
        verdict: the item's counts and comparisons.
        excuses: the known failures that apply.
        inapplicable: the most frequent reason why the check did not apply.
    """
    verdict, examples = replace(verdict, excuses=tuple(excuses)), verdict.examples
    applied_excuses = [excuse for excuse in excuses if excuse.excused]
    if applied_excuses and not _passed_ordinary_cases(examples):
        message = f"known failure: {'; '.join(map(_excuse_text, applied_excuses))}"
        return replace(verdict, status="known", message=message)
    nothing_reached = bool(verdict.hits) and not any(verdict.hits.values())
    has_unreached_reason = any(
        reason.startswith(UNREACHED_PREFIX) for reason in examples.unsupported
    )
    if nothing_reached and (examples.checked or has_unreached_reason):
        return with_failure(
            verdict, "unchecked", Finding("unchecked", UNREACHED_PREFIX + ", ".join(verdict.hits))
        )
    if examples.checked and verdict.comparisons:
        notes = _format_notes(examples, excuses)
        if applied_excuses:
            known_text = "; ".join(map(_excuse_text, applied_excuses))
            notes = f"ordinary cases pass; {_failed_classes(examples)} fail as known: {known_text}"
        return replace(verdict, status="passed", message=notes)
    if verdict.accepted and _accepted_or_declined(verdict) == examples.drawn:
        constraint = max(verdict.accepted, key=lambda name: verdict.accepted[name])
        message = f"no invalid call that was drawn must be refused; most often: {constraint}"
        return replace(verdict, status="unsupported", message=message)
    if examples.unsupported and not examples.checked:
        reason = max(examples.unsupported, key=lambda r: examples.unsupported[r])
        count = f"{len(examples.unsupported)} reasons, " if len(examples.unsupported) > 1 else ""
        message = f"{count}most often: {reason}"
        return replace(verdict, status="unsupported", message=message)
    notes = _format_notes(examples, excuses)
    if inapplicable and not examples.checked:
        notes = f"{notes}; most often: {inapplicable}" if notes else f"most often: {inapplicable}"
    what = NO_FINITE_BOUND if examples.checked else NO_CASE_CHECKED
    return with_failure(
        verdict, "unchecked", Finding("unchecked", what, f"({notes})" if notes else "")
    )


def _accepted_or_declined(verdict: Verdict) -> int:
    """How many cases were declined, or are invalid calls that the backend may accept."""
    return sum(verdict.accepted.values()) + sum(verdict.examples.unsupported.values())


def _passed_ordinary_cases(examples: Examples) -> bool:
    """Whether ordinary cases were compared and all pass."""
    ordinary = examples.classes.get(ORDINARY, NONE)
    return ordinary.checked > 0 and not ordinary.failed


def _failed_classes(examples: Examples) -> str:
    """`extremal and empty`: the classes with failures."""
    return " and ".join(name for name in CLASSES if examples.classes.get(name, NONE).failed)


def _excuse_text(excuse: Excuse) -> str:
    inherited = f" (inherited from {excuse.base})" if excuse.base else ""
    return excuse.reason + (f" ({excuse.link})" if excuse.link else "") + inherited


def _format_notes(examples: Examples, excuses: Sequence[Excuse]) -> str | None:
    """`2 known failures apply, 14 cases left out`; None if there are no notes."""
    parts = []
    if count := len([e for e in excuses if not e.base]):
        parts.append("1 known failure applies" if count == 1 else f"{count} known failures apply")
    if examples.left_out:
        parts.append(f"{_case_count_text(examples.left_out)} left out")
    if examples.lost:
        parts.append(f"{_case_count_text(examples.lost)} lost")
    if examples.stopped and not examples.checked:
        parts.append(f"{_case_count_text(examples.stopped)} beyond the time budget")
    return ", ".join(parts) or None


def _case_count_text(number: int) -> str:
    return "1 case" if number == 1 else f"{number} cases"


def failed_verdict(verdict: Verdict, causes: Sequence[Cause]) -> Verdict:
    """The verdict of an item that fails for one or several causes.

    Args:
        verdict: the item's counts, comparisons, and the known failures that apply.
        causes: at least one; the verdict describes the one with the worst status first.
    """
    order = ("crashed", "hung", "failed")
    distinct = {(cause.status, cause.call, cause.message): cause for cause in causes}
    first, *others = sorted(distinct.values(), key=lambda cause: order.index(cause.status))
    message = first.message + other_causes_text(others)
    cause_facts: dict[str, Any] = {name: getattr(first, name) for name in CAUSE_FIELDS}
    return replace(
        verdict, status=first.status, others=tuple(others), message=message, **cause_facts
    )


def with_inherited_failures(
    verdict: Verdict, inherited: Sequence[Excuse], classes: Sequence[str]
) -> Verdict:
    """Add lost cases that the backend inherits: its base loses the process on them, too.

    Args:
        classes: the class of each of these cases.
    """
    if not inherited:
        return verdict
    excused = sum(excuse.excused for excuse in inherited)
    examples = _count_lost(verdict.examples, ClassCounts(1, 1, 1), classes, excused)
    verdict = replace(verdict, examples=examples, excuses=(*verdict.excuses, *inherited))
    passed = verdict.status == "passed" and _passed_ordinary_cases(examples)
    if passed or verdict.status not in ("passed", "unchecked", "unsupported"):
        return verdict
    message = f"known failure: {'; '.join(map(_excuse_text, inherited))}"
    return replace(verdict, status="known", message=message, failure=None)


def with_lost_cases(verdict: Verdict, lost: Sequence[Cause], classes: Sequence[str]) -> Verdict:
    """Add the causes of cases that ended the process to the verdict on the other cases.

    Args:
        lost: one cause for each case that ended the process.
        classes: the class of each of these cases.
    """
    if not lost:
        return verdict
    causes = [*lost]
    if verdict.status == "failed":
        own_facts = {name: getattr(verdict, name) for name in CAUSE_FIELDS}
        causes += [Cause(verdict.own_message, **own_facts), *verdict.others]
    examples = _count_lost(verdict.examples, ClassCounts(1, 1), classes, len(lost))
    return failed_verdict(replace(verdict, examples=examples), causes)


def _count_lost(
    examples: Examples, each: ClassCounts, classes: Sequence[str], number: int
) -> Examples:
    """Count `number` lost cases as checked and failed, and each of their classes."""
    lost_by_class = [examples.classes, *({name: each} for name in classes)]
    return replace(
        examples,
        checked=examples.checked + number,
        failed=examples.failed + number,
        excused=examples.excused + number * each.excused,
        lost=max(examples.lost - number, 0),
        classes=add_class_counts(lost_by_class),
    )


def left_out_verdict(item: Item, examples: int) -> Verdict:
    """The verdict of an item that the run's time budget left out."""
    failure = Finding("unchecked", "left out: the run is behind its time budget")
    return with_failure(open_verdict(item, Examples(stopped=examples)), "unchecked", failure)


def returned_verdict(item: Item, entry: KnownFailure, outcome: Outcome) -> Verdict:
    """The verdict of an item in which a mended known failure is back.

    Args:
        outcome: of its pinned case.
    """
    finding = outcome.failure or Finding("lost", says=outcome.message)
    finding = finding.in_context(f"a mended divergence is back: {entry.reason}")
    return with_failure(open_verdict(item, Examples(1, 1, failed=1)), "failed", finding)


def stale_verdict(item: Item, entries: Sequence[tuple[KnownFailure, str]]) -> Verdict:
    """The verdict of an item with stale known failures.

    Args:
        entries: known failures whose pinned case no longer fails, each with what it does now.
    """
    reasons = "; ".join(
        f"{entry.reason} (its pinned case {outcome_text})" for entry, outcome_text in entries
    )
    failure = Finding("stale", says=f"stale known failure; remove the entry: {reasons}")
    return with_failure(open_verdict(item, Examples(len(entries), len(entries))), "failed", failure)
