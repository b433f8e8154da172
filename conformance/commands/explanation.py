"""The known failure that explains a verdict, and its case, for a bug report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.checks import EVERY_CHECK
from conformance.commands.replay import installed_backend, process_of
from conformance.diagnosis.reproducer import UNSEEN
from conformance.isolation.process import Died
from conformance.items.planning import Item
from conformance.known.entry import Known, applying, read
from conformance.known.matches import Excuses
from conformance.layers.describe import case_text
from conformance.layers.encoding import case_of
from conformance.model.case import Case, Verdict
from conformance.model.finding import Finding
from conformance.model.finding_text import text
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
    verdict = _found(run, id)
    entries = _entries(run, verdict)
    if not 1 <= number <= max(len(entries), 1):
        has = f"known failures 1 to {len(entries)}" if entries else "no known failure"
        raise UsageError(f"--known {number}: {verdict.id} has {has}")
    entry = entries[number - 1] if entries else None
    others = max(len(entries) - 1, 0)
    reason, link = (entry.reason, entry.link) if entry else ("", "")
    call, message, failure = verdict.call or "", verdict.message or "", verdict.failure
    script = (entry.script if entry else "") or verdict.reproducer
    if entry is not None and verdict.case is None:
        case = entry.pinned(verdict.dtype, verdict.device, verdict.id)
        if case is not None:
            call = case_text(case)
            answered, failure, made = _run(run, verdict, case, entry, backend)
            message, script = answered or message, script or made
    lacking = UNSEEN if script and UNSEEN in script else ""
    return Explanation(verdict, call, message, script, lacking, reason, link, others, failure)


def _found(run: Run, id: str) -> Verdict:
    found = run.verdict(id)
    if found.status not in REPORTABLE:
        raise UsageError(f"{found.id} is {found.status}: there is no bug to report")
    return found


def _entries(run: Run, verdict: Verdict) -> Sequence[Known]:
    """The known failures that cover the failing case, or that make the verdict `known`."""
    base = next((excuse.base for excuse in verdict.excuses if excuse.base), "")
    paths = [Path(p.strip()) for p in run.identity.options.get("known", "").split(",") if p.strip()]
    known = read(run.identity.backend, [path for path in paths if _is_file(path)], base)
    found = list(applying(known, verdict, run.identity.backend, base).values())
    if verdict.status == "known":
        reasons = {excuse.reason for excuse in verdict.excuses if excuse.excused}
        answered = verdict.message or ""
        return [e for e in found if (e.reason in reasons if reasons else e.reason in answered)]
    try:
        case = case_of(verdict)
        if case is None:
            return []
        check = EVERY_CHECK[verdict.check]
        explaining = [Excuses((entry,), check) for entry in found]
        failure = verdict.failure
        message = verdict.message or "" if failure is None else text(replace(failure, notes=()))
        return [
            entry
            for entry, excuses in zip(found, explaining, strict=True)
            if excuses.explaining(case, message, failure) is not None
        ]
    except (KeyError, TypeError, ValueError):
        return []


def _is_file(path: Path) -> bool:
    """Whether a path is an existing file; False for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _run(
    run: Run, verdict: Verdict, case: Case, entry: Known, backend: str | None
) -> tuple[str, Finding | None, str | None]:
    """Run a pinned case.

    Returns:
        The check's message, the same as data, and a script; empty and None if it cannot run.
    """
    item, failure = Item.of(verdict), None
    try:
        with process_of(backend or installed_backend(run)) as child:
            try:
                outcome = child.outcome(item, case)
                message = "" if outcome.status == "unknown" else outcome.message
                failure = outcome.failure
            except Died as died:
                message = died.how
            script = child.script(item, case, message or entry.reason, deadly=entry.deadly)
    except UsageError:
        return "", None, None
    return message, failure, script
