"""Verdict of an item from the outcomes of its examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conformance.checks.trial import Evidence
from conformance.items.planning import Item
from conformance.known.entry import Known
from conformance.model.case import UNREACHED, Examples, Verdict
from conformance.model.cause import Cause, Excuse, other_causes
from conformance.model.finding import Finding
from conformance.model.finding_text import text

NOTHING = "nothing was compared: no example gave a number with a finite bound"


def make(item: Item, status: str, examples: Examples, **facts: object) -> Verdict:
    """A verdict of an item.

    Args:
        item: what it is about.
        status, examples, facts: fields of the verdict.
    """
    return Verdict(
        item.id,
        item.layer,
        item.check,
        item.dtype,
        item.device,
        status,
        examples,
        **facts,  # type: ignore[arg-type]
    )


def wrong(
    item: Item, status: str, examples: Examples, failure: Finding, **facts: object
) -> Verdict:
    """A verdict of an item with something wrong, which its message tells.

    Args:
        item: what it is about.
        failure: what is wrong.
        status, examples, facts: fields of the verdict.
    """
    return make(item, status, examples, **{**facts, "failure": failure, "message": text(failure)})


def evidence_fields(evidence: Evidence) -> dict[str, object]:
    """What was compared, as fields of a verdict."""
    return {
        "comparisons": evidence.comparisons,
        "margin": evidence.margin,
        "ulps": dict(evidence.ulps),
        "ratios": dict(evidence.ratios),
        "farthest": evidence.farthest,
    }


def conclude(
    item: Item, examples: Examples, facts: Mapping[str, object], excuses: Sequence[Excuse]
) -> Verdict:
    """The verdict of an item in which nothing new fails.

    It is `known` only where a case of this run failed as a known failure says; else it is passed,
    declined throughout, or nothing was compared. Of a backend that counts what is under test
    nothing was compared where none of it ran.

    Args:
        item: what it is about.
        examples: its counts.
        facts: further fields.
        excuses: the known failures that apply.
    """
    facts = {**facts, "excuses": tuple(excuses)}
    explaining = [excuse for excuse in excuses if excuse.excused]
    if explaining:
        message = f"known failure: {'; '.join(map(_reason, explaining))}"
        return make(item, "known", examples, **{**facts, "message": message})
    hits = facts.get("hits")
    hits = hits if isinstance(hits, Mapping) else {}
    unreached = hits and not any(hits.values())
    reasons = any(reason.startswith(UNREACHED) for reason in examples.unsupported)
    if unreached and (examples.checked or reasons):
        failure = Finding("unchecked", UNREACHED + ", ".join(hits))
        return wrong(item, "unchecked", examples, failure, **facts)
    if examples.checked and facts["comparisons"]:
        return make(
            item, "passed", examples, **{**facts, "message": _format_notes(examples, excuses)}
        )
    if examples.unsupported and not examples.checked:
        reason = max(examples.unsupported, key=lambda r: examples.unsupported[r])
        count = f"{len(examples.unsupported)} reasons, " if len(examples.unsupported) > 1 else ""
        message = f"{count}most often: {reason}"
        return make(item, "unsupported", examples, **{**facts, "message": message})
    notes = _format_notes(examples, excuses)
    failure = Finding("unchecked", NOTHING, f"({notes})" if notes else "")
    return wrong(item, "unchecked", examples, failure, **facts)


def _reason(excuse: Excuse) -> str:
    inherited = f" (inherited from {excuse.base})" if excuse.base else ""
    return excuse.reason + (f" ({excuse.link})" if excuse.link else "") + inherited


def _format_notes(examples: Examples, excuses: Sequence[Excuse]) -> str | None:
    """`2 known failures apply, 14 cases left out`; None where there is nothing to say."""
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


def failed(
    item: Item,
    examples: Examples,
    facts: Mapping[str, object],
    excuses: Sequence[Excuse],
    causes: Sequence[Cause],
) -> Verdict:
    """The verdict of an item that fails, for one or several causes.

    Args:
        item: what it is about.
        examples: its counts.
        facts: further fields.
        excuses: the known failures that apply.
        causes: why it fails, the worst status first; at least one.
    """
    order = ("crashed", "hung", "failed")
    distinct = {(cause.status, cause.call, cause.message): cause for cause in causes}
    first, *others = sorted(distinct.values(), key=lambda cause: order.index(cause.status))
    return make(
        item, first.status, examples, **{
            **facts, "excuses": tuple(excuses), "others": tuple(others),
            "message": first.message + other_causes(others), "failure": first.failure,
            "call": first.call, "case": first.case, "needs": first.needs, "share": first.share,
            "excess": first.excess,
            "reproducer": first.reproducer, "reference": first.reference,
        }
    )  # fmt: skip


def inheriting(verdict: Verdict, inherited: Sequence[Excuse]) -> Verdict:
    """A verdict with cases on which the process was lost as it is on the backend's base."""
    if not inherited:
        return verdict
    number = sum(excuse.excused for excuse in inherited)
    examples = replace(
        verdict.examples,
        checked=verdict.examples.checked + number,
        failed=verdict.examples.failed + number,
        excused=verdict.examples.excused + number,
        lost=max(verdict.examples.lost - number, 0),
    )
    verdict = replace(verdict, examples=examples, excuses=(*verdict.excuses, *inherited))
    if verdict.status not in ("passed", "unchecked", "unsupported"):
        return verdict
    message = f"known failure: {'; '.join(map(_reason, inherited))}"
    return replace(verdict, status="known", message=message, failure=None)


def joined(verdict: Verdict, lost: Sequence[Cause]) -> Verdict:
    """The verdict of an item whose process was lost on some cases, the others judged after that.

    Args:
        verdict: of the other cases.
        lost: what ended the process.
    """
    if not lost:
        return verdict
    item = Item(verdict.layer, verdict.check, verdict.dtype, verdict.device)
    causes = [*lost]
    if verdict.status == "failed":
        fields = ("call", "case", "needs", "share", "excess", "reproducer", "reference", "failure")
        own = {name: getattr(verdict, name) for name in fields}
        causes += [Cause(verdict.own_message, **own)]
        causes += verdict.others
    number = len(lost)
    examples = replace(
        verdict.examples,
        checked=verdict.examples.checked + number,
        failed=verdict.examples.failed + number,
        lost=max(verdict.examples.lost - number, 0),
    )
    kept = (
        "comparisons",
        "margin",
        "ulps",
        "ratios",
        "worst",
        "farthest",
        "outcomes",
        "drawn",
        "accepted",
        "thin",
        "hits",
        "not_shown",
    )
    facts = {name: getattr(verdict, name) for name in kept}
    return failed(item, examples, facts, verdict.excuses, causes)


def left_out(item: Item, examples: int) -> Verdict:
    """The run's time was over before the item's turn."""
    failure = Finding("unchecked", "left out: the run is behind its time budget")
    return wrong(item, "unchecked", Examples(stopped=examples), failure)


def stale(item: Item, entries: Sequence[tuple[Known, str]]) -> Verdict:
    """Known failures that no longer show where they are said to have been seen.

    Args:
        item: the item.
        entries: each with what its pinned case does now.
    """
    reasons = "; ".join(f"{entry.reason} (its pinned case {now})" for entry, now in entries)
    failure = Finding("stale", says=f"stale known failure; remove the entry: {reasons}")
    return wrong(item, "failed", Examples(len(entries), len(entries)), failure)
