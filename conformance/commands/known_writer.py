"""Write a file of known failures from the results of a run: one entry for each likely cause."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.checks import EVERY_CHECK
from conformance.commands.crash_conditions import cases_with_outcome
from conformance.commands.known_entry import BROKEN, EntryDraft
from conformance.known.entry import (
    MAX_FILE_BYTES,
    KnownFailure,
    KnownFailureError,
    applicable_entries,
    matches_globs,
    parse_entries,
)
from conformance.layers import CATALOGUE
from conformance.layers.encoding import decode_verdict_case
from conformance.matching.facts import Facts
from conformance.model.case import Verdict
from conformance.model.files import read_text, write_atomically
from conformance.model.plain_text import bounded
from conformance.reports import summary
from conformance.reports.clusters import Cluster, split_by_cause
from conformance.reports.results import Run
from conformance.reports.statuses import status

ENTRY_START = re.compile(r"(?m)^(?=\[\[known\]\])")
_SUITE_KINDS = ("allowance", "declared", "internal", "stale", "support", "unchecked")


@dataclass(frozen=True)
class KnownFileDraft:
    """The text to write, and what the user should know about it.

    Args:
        text: the file in TOML.
        new: number of new entries; they have no reason yet.
        stale: reasons of earlier entries that are left out, because no failure of the run needs
            them.
    """

    text: str
    new: int
    stale: tuple[str, ...] = ()


def draft_known_file(run: Run, earlier: str = "", name: str = "the earlier file") -> KnownFileDraft:
    """Draft a file: the entries of an earlier file that still hold, then those of new failures.

    Args:
        earlier: text of the file that the run used, or of an older one.
        name: name of that file, for messages.

    Raises:
        KnownError: if the earlier file is invalid, the suite has no such layer or check, or no
            entry can express a failure.
        CaseError: if a case cannot be decoded.
    """
    for verdict in run.verdicts:
        _validate_verdict(verdict)
    kept_texts, stale, kept_entries = _split_earlier_entries(run, earlier, name)
    bugs = summary.clusters(summary.verdicts_with_status(summary.matrix(run)), run.identity.layers)
    entries = [entry for bug in bugs for entry in _draft_entries(run, bug, kept_entries)]
    _drop_unmet_conditions(run, entries, kept_entries)
    for entry in entries:  # With a reason the parser must accept it.
        parse_entries(
            entry.text("a reason"), f"no entry can be made of {bounded(entry.bug.first.id, 200)}"
        )
    parts = [*kept_texts, *(entry.text() for entry in entries)]
    return KnownFileDraft(
        "\n".join(part.strip("\n") + "\n" for part in parts), len(entries), tuple(stale)
    )


def _split_earlier_entries(
    run: Run, earlier: str, name: str
) -> tuple[list[str], list[str], list[KnownFailure]]:
    """Split earlier entries into those that hold or concern other items, and stale ones.

    An entry holds if the run excused or left out a case by it. It also holds if it explains a
    failure of the run, which may have run without it.

    Returns:
        The texts of the entries to keep, the reasons of the stale ones, and the kept ones parsed.
    """
    holds = {e.reason for v in run.verdicts for e in v.excuses if e.excused or e.left_out}
    layers = {v.layer for v in run.verdicts}
    causes = [
        cause for v in run.verdicts for cause in split_by_cause(v) if _is_backend_failure(cause)
    ]
    kept_texts, stale, kept_entries = list[str](), list[str](), list[KnownFailure]()
    first, *parts = ENTRY_START.split(earlier)
    parse_entries(first, name)  # Only comments may precede the first entry.
    for part in parts:
        if not _read_reason(part):
            continue  # Nobody has confirmed it with a reason.
        (entry,) = parse_entries(part, name)
        reason = entry.reason
        is_tested = any(matches_globs(layer, entry.layer) for layer in layers)
        explains_failure = any(_explains_cause(entry, run, cause) for cause in causes)
        seen_elsewhere = entry.seen and not {*run.identity.places.values()} & {*entry.seen}
        if (
            reason in holds
            or explains_failure
            or not is_tested
            or not entry.strict
            or seen_elsewhere
        ):
            kept_texts.append(part)
            kept_entries.append(entry)
        else:
            stale.append(reason)
    return ([first] if first.strip() else []) + kept_texts, stale, kept_entries


def _read_reason(part: str) -> str:
    """The reason of an entry; a dummy one for invalid text, which `parse_entries` then refuses."""
    try:
        return str(tomllib.loads(part)["known"][0].get("reason", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "none can be read"


def _validate_verdict(verdict: Verdict) -> None:
    """Check that this version of the suite knows the layer, the check and the cases.

    Raises:
        KnownError: if it lacks the layer or the check.
        CaseError: if a case cannot be decoded.
    """
    if not _is_backend_failure(verdict):
        return
    if verdict.layer not in CATALOGUE or verdict.check not in EVERY_CHECK:
        name = bounded(verdict.id, 200)
        raise KnownFailureError(f"{name}: this version of the suite has no such layer or check")
    for cause in split_by_cause(verdict):
        decode_verdict_case(cause)


def _is_backend_failure(cause: Verdict) -> bool:
    """Whether a cause is a failure of the backend, not a complaint about an entry or the run."""
    failed = status(cause) in ("failed", "crashed", "hung")
    return failed and (cause.failure is None or cause.failure.kind not in _SUITE_KINDS)


def _explains_cause(entry: KnownFailure, run: Run, cause: Verdict) -> bool:
    """Whether an entry explains the minimal case of a cause."""
    case, failure = decode_verdict_case(cause), cause.failure
    if case is None or not applicable_entries((entry,), cause, run.identity.backend):
        return False
    facts = Facts(case, None if failure is None else failure.layouts)
    if entry.status != status(cause):
        return False
    excess = None if failure is None else failure.error_ratio
    return entry.explains(facts, cause.message or "", excess)


def _draft_entries(
    run: Run, bug: Cluster, kept_entries: Sequence[KnownFailure]
) -> Iterator[EntryDraft]:
    """Draft an entry for a cause, and a second one for checks that need other conditions.

    The wider conditions of those checks would excuse too much in the first check.

    Args:
        bug: the likely cause.
        kept_entries: kept entries; failures that they explain need no new entry.
    """
    members = [v for v in bug.members if _is_backend_failure(v)]
    members = [
        v for v in members if not any(_explains_cause(entry, run, v) for entry in kept_entries)
    ]
    if not members:
        return
    checks: dict[str, list[Verdict]] = {}
    for verdict in members:
        checks.setdefault(verdict.check, []).append(verdict)
    entry = EntryDraft(run, bug, checks.pop(members[0].check))
    separate = list[Verdict]()
    for check, verdicts in checks.items():
        # The condition of an invalid call is the broken constraint, which valid calls lack.
        same_kind = EVERY_CHECK[check].invalid == EVERY_CHECK[members[0].check].invalid
        if same_kind and all(
            case is None or entry.covers(case) for case in map(decode_verdict_case, verdicts)
        ):
            entry.members += verdicts
        else:
            separate += verdicts
    yield entry
    if separate:
        yield EntryDraft(run, bug, separate)


def _drop_unmet_conditions(
    run: Run, entries: Sequence[EntryDraft], kept_entries: Sequence[KnownFailure]
) -> None:
    """Drop as few conditions as possible, so that every failing case of an item is covered.

    Cases that a kept entry covers need no change. Entries of crashes do not take part: they do not
    cover cases that only fail.
    """
    failing = [entry for entry in entries if entry.status == "failed"]
    for verdict in run.verdicts:
        drafts = [e for e in failing if any(m.id == verdict.id for m in e.members)]
        if not drafts:
            continue
        applicable = applicable_entries(kept_entries, verdict, run.identity.backend).values()
        for case in cases_with_outcome(run, verdict, "f"):
            if any(entry.covers(case) for entry in applicable):
                continue
            nearest = min(drafts, key=lambda entry: len(entry.unmet(case)[1]))
            way, unmet = nearest.unmet(case)
            if BROKEN in unmet:
                # Another broken constraint needs a way of its own.
                nearest.ways.append({BROKEN: case.labels[BROKEN]})
                continue
            for name in unmet:
                del way[name]


def write(run: Run, path: Path, *, update: bool = False) -> KnownFileDraft:
    """Write a file of known failures, and return what was written.

    Args:
        update: keep the entries of an existing file that still hold.

    Raises:
        FileExistsError: if the file exists and `update` is false.
    """
    if path.exists() and not update:
        raise FileExistsError(f"{path} exists: --update keeps the entries that still hold")
    earlier = read_text(path, MAX_FILE_BYTES) if update and path.exists() else ""
    draft = draft_known_file(run, earlier, str(path))
    write_atomically(path, draft.text)
    return draft
