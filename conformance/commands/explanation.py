"""The known failure that explains a verdict, and its case, for a bug report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.checks import EVERY_CHECK
from conformance.commands.replay import backend_process, installed_backend
from conformance.diagnosis.reproducer import NOT_REPRODUCED
from conformance.isolation.process import ChildDied
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure, applicable_entries, load_entries
from conformance.known.matches import Excuses
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_verdict_case
from conformance.model.case import Case, Verdict
from conformance.model.finding import Finding
from conformance.model.finding_text import finding_message
from conformance.model.usage_error import UsageError
from conformance.reports.results import Run

REPORTABLE = ("failed", "crashed", "hung", "known")


@dataclass(frozen=True)
class Explanation:
    """A failure and everything known about it.

    Args:
        verdict: as the results hold it.
        call: the failing call in one line.
        message: the message of the check.
        failure: the same as data; None if the results do not have it.
        script: a self-contained reproducer; None if there is none.
        lacking: what the script does not show; empty if it shows the failure.
        reason, link: of the known failure that explains the verdict; empty without one.
        others: number of further known failures that explain the verdict.
    """

    verdict: Verdict
    call: str
    message: str
    script: str | None
    lacking: str = ""
    reason: str = ""
    link: str = ""
    others: int = 0
    failure: Finding | None = None


def explain(run: Run, id: str, number: int = 1, backend: str | None = None) -> Explanation:
    """Find a verdict and the known failure that explains it.

    If the verdict has no case, the pinned case of the known failure runs in a separate process.

    Args:
        number: which of several known failures, from 1.
        backend: runs the pinned case, named as on the command line. None = the backend of the
            results; if it is not installed, the case does not run.

    Raises:
        UsageError: if there is no such verdict, or it is not a failure.
    """
    verdict = _find_failure(run, id)
    entries = _matching_entries(run, verdict)
    if not 1 <= number <= max(len(entries), 1):
        available = f"known failures 1 to {len(entries)}" if entries else "no known failure"
        raise UsageError(f"--known {number}: {verdict.id} has {available}")
    entry = entries[number - 1] if entries else None
    others = max(len(entries) - 1, 0)
    reason, link = (entry.reason, entry.link) if entry else ("", "")
    call, message, failure = verdict.call or "", verdict.message or "", verdict.failure
    script = (entry.script if entry else "") or verdict.reproducer
    if entry is not None and verdict.case is None:
        case = entry.pinned_case(verdict.dtype, verdict.device, verdict.id)
        if case is not None:
            call = case_text(case)
            check_message, failure, generated_script = _run_pinned_case(
                run, verdict, case, entry, backend
            )
            message, script = check_message or message, script or generated_script
    lacking = NOT_REPRODUCED if script and NOT_REPRODUCED in script else ""
    return Explanation(verdict, call, message, script, lacking, reason, link, others, failure)


def _find_failure(run: Run, id: str) -> Verdict:
    verdict = run.verdict(id)
    if verdict.status not in REPORTABLE:
        raise UsageError(f"{verdict.id} is {verdict.status}: there is no bug to report")
    return verdict


def _matching_entries(run: Run, verdict: Verdict) -> Sequence[KnownFailure]:
    """The known failures that cover the failing case, or that make the verdict `known`."""
    base = next((excuse.base for excuse in verdict.excuses if excuse.base), "")
    paths = [Path(p.strip()) for p in run.identity.options.get("known", "").split(",") if p.strip()]
    known = load_entries(run.identity.backend, [path for path in paths if _is_file(path)], base)
    candidates = list(applicable_entries(known, verdict, run.identity.backend, base).values())
    if verdict.status == "known":
        reasons = {excuse.reason for excuse in verdict.excuses if excuse.excused}
        verdict_message = verdict.message or ""
        return [
            e
            for e in candidates
            if (e.reason in reasons if reasons else e.reason in verdict_message)
        ]
    try:
        case = decode_verdict_case(verdict)
        if case is None:
            return []
        check = EVERY_CHECK[verdict.check]
        excuses_by_entry = [Excuses((entry,), check) for entry in candidates]
        failure = verdict.failure
        message = (
            verdict.message or ""
            if failure is None
            else finding_message(replace(failure, notes=()))
        )
        return [
            entry
            for entry, excuses in zip(candidates, excuses_by_entry, strict=True)
            if excuses.find_explanation(case, message, failure) is not None
        ]
    except (KeyError, TypeError, ValueError):
        return []


def _is_file(path: Path) -> bool:
    """Whether a path is an existing file; False for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _run_pinned_case(
    run: Run, verdict: Verdict, case: Case, entry: KnownFailure, backend: str | None
) -> tuple[str, Finding | None, str | None]:
    """Run a pinned case.

    Returns:
        The check's message, the same as data, and a script; empty and None if it cannot run.
    """
    item, failure = Item.of_verdict(verdict), None
    try:
        with backend_process(backend or installed_backend(run)) as child:
            try:
                outcome = child.outcome(item, case)
                message = "" if outcome.status == "unknown" else outcome.message
                failure = outcome.failure
            except ChildDied as died:
                message = died.cause
            script = child.script(
                item, case, message or entry.reason, ends_process=entry.ends_process
            )
    except UsageError:
        return "", None, None
    return message, failure, script
