"""Write a file of known failures from the results of a run: one entry for each likely cause."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from conformance.checks import EVERY_CHECK
from conformance.commands.crash_conditions import cases_with_outcome, separating_conditions
from conformance.commands.known_entry import (
    BROKEN,
    EntryDraft,
    estimate_share,
    is_met,
    own_conditions,
)
from conformance.known.entry import (
    MAX_FILE_BYTES,
    KnownFailure,
    KnownFailureError,
    applicable_entries,
    matches_globs,
    parse_entries,
)
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.encoding import decode_verdict_case
from conformance.matching.facts import Facts
from conformance.model.case import Case, Verdict
from conformance.model.files import read_text, write_atomically
from conformance.model.plain_text import bounded
from conformance.reports import summary
from conformance.reports.clusters import Cluster, split_by_cause
from conformance.reports.results import Run
from conformance.reports.statuses import status

ENTRY_START = re.compile(r"(?m)^(?=\[\[known\]\])")
MAX_FURTHER_WAYS = 3
"""Most alternatives of conditions that an entry gets besides those of its minimal cases."""
_SUITE_KINDS = ("allowance", "declared", "internal", "stale", "support", "unchecked")


@dataclass(frozen=True)
class KnownFileDraft:
    """The text to write, and what the user should know about it.

    Args:
        text: the file in TOML.
        new: number of new entries; they have no reason yet.
        stale: reasons of earlier entries that are left out, because no failure of the run needs
            them.
        broad: for each new entry that covers every case of an item, what it covers.
    """

    text: str
    new: int
    stale: tuple[str, ...] = ()
    broad: tuple[str, ...] = ()


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
    drafts = [entry for bug in bugs for entry in _draft_entries(run, bug, kept_entries)]
    _cover_failing_cases(run, drafts, kept_entries)
    entries = [entry for draft in drafts for entry in _limit_shares(run, draft)]
    broad = [_broad_text(run, entry) for entry in entries]
    parts = [*kept_texts, *(entry.text() for entry in entries)]
    return KnownFileDraft(
        "\n".join(part.strip("\n") + "\n" for part in parts),
        len(entries),
        tuple(stale),
        tuple(filter(None, broad)),
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
    """Draft the entries for a cause.

    A verdict without conditions would make an entry cover every case, so verdicts with conditions
    have entries of their own.

    Args:
        bug: the likely cause.
        kept_entries: kept entries; failures that they explain need no new entry.
    """
    members = [v for v in bug.members if _is_backend_failure(v)]
    members = [
        v for v in members if not any(_explains_cause(entry, run, v) for entry in kept_entries)
    ]
    is_narrow = [bool(own_conditions(v)) or status(v) != "failed" for v in members]
    for narrow in dict.fromkeys(is_narrow):
        group = [
            v
            for v, narrow_itself in zip(members, is_narrow, strict=True)
            if narrow_itself is narrow
        ]
        yield from _draft_entries_of_group(run, bug, group)


def _draft_entries_of_group(
    run: Run, bug: Cluster, members: Sequence[Verdict]
) -> Iterator[EntryDraft]:
    """Draft an entry for verdicts of a cause, and a second one for checks with other conditions.

    The wider conditions of those checks would excuse too much in the first check.
    """
    checks: dict[str, list[Verdict]] = {}
    for verdict in members:
        checks.setdefault(verdict.check, []).append(verdict)
    joint = EntryDraft(run, bug, checks.pop(members[0].check))
    separate: list[Verdict] = []
    for check, verdicts in checks.items():
        # The condition of an invalid call is the broken constraint, which valid calls lack.
        same_kind = EVERY_CHECK[check].invalid == EVERY_CHECK[members[0].check].invalid
        if same_kind and all(
            case is None or joint.covers(case) for case in map(decode_verdict_case, verdicts)
        ):
            joint.members += verdicts
        else:
            separate += verdicts
    yield joint
    if separate:
        yield EntryDraft(run, bug, separate)


def _cover_failing_cases(
    run: Run, entries: Sequence[EntryDraft], kept_entries: Sequence[KnownFailure]
) -> None:
    """Widen the entries by as little as possible, so that they cover every failing case of an item.

    A condition is dropped if no further passing case meets the others. Else the case gets a way of
    its own. If an entry would need many ways, the structure of a case does not decide whether it
    fails, and conditions are dropped only.

    Cases that a kept entry covers need no change. Entries of crashes do not take part: they do not
    cover cases that only fail.
    """
    failing_entries = [entry for entry in entries if entry.status == "failed"]
    widenings = {id(entry): _Widening(entry) for entry in failing_entries}
    # Where one entry begins again, the items before need another look.
    while any(
        _cover_item(
            run,
            verdict,
            [widenings[id(e)] for e in failing_entries if e.is_about(verdict)],
            kept_entries,
        )
        for verdict in run.verdicts
    ):
        pass


class _Widening:
    """Widens an entry by further ways; if these do not suffice, by dropping conditions only."""

    def __init__(self, entry: EntryDraft) -> None:
        self.entry, self._original_ways = entry, deepcopy(entry.ways)
        self._max_ways = len(entry.ways) + MAX_FURTHER_WAYS

    def cover(self, case: Case, passing: Sequence[Case]) -> bool:
        """Widen the entry so that it covers a case; True if it began again without further ways.

        Args:
            passing: the item's passing cases, which it should not cover.
        """
        entry = self.entry
        way, unmet = entry.unmet(case)
        if BROKEN in unmet:
            # Another broken constraint needs a way of its own.
            entry.ways.append({BROKEN: case.labels[BROKEN]})
            return False
        wider = {name: wanted for name, wanted in way.items() if name not in unmet}
        own = next(separating_conditions([case], passing))
        is_worse = not wider or _count_met(wider, passing) > _count_met(way, passing)
        if not is_worse or not own or not self._max_ways:
            for name in unmet:
                del way[name]
            return False
        if len(entry.ways) < self._max_ways:
            entry.ways.append(own)
            return False
        entry.ways, self._max_ways = self._original_ways, 0
        return True


def _cover_item(
    run: Run,
    verdict: Verdict,
    widenings: Sequence[_Widening],
    kept_entries: Sequence[KnownFailure],
) -> bool:
    """Widen the entries of an item until they cover its failing cases; True if one began again."""
    if not widenings:
        return False
    applicable = applicable_entries(kept_entries, verdict, run.identity.backend).values()
    failing, passing = (list(cases_with_outcome(run, verdict, kind)) for kind in "fp")
    for case in failing:
        if any(entry.covers(case) for entry in applicable):
            continue
        if any(widening.entry.covers(case) for widening in widenings):
            continue
        nearest = min(widenings, key=lambda widening: len(widening.entry.unmet(case)[1]))
        if nearest.cover(case, passing):
            return True
    return False


def _count_met(way: Mapping[str, Any], cases: Sequence[Case]) -> int:
    """How many cases meet all conditions of a way."""
    return sum(all(map(partial(is_met, Facts(case)), way, way.values())) for case in cases)


def _limit_shares(run: Run, draft: EntryDraft) -> Iterator[EntryDraft]:
    """State the share of covered cases that fail, in an entry for the checks where some pass.

    In the other checks every covered case fails, so they get an entry without a share.
    """
    checks = list(dict.fromkeys(v.check for v in draft.members))
    shares = {check: _largest_share(run, draft.with_checks([check])) for check in checks}
    partial_checks = [check for check in checks if shares[check] < 1]
    for group in (partial_checks, [check for check in checks if check not in partial_checks]):
        if group:
            entry = draft.with_checks(group)
            entry.at_most = max(shares[check] for check in group)
            yield entry


def _largest_share(run: Run, draft: EntryDraft) -> float:
    """The largest share that may fail in one item; 1 for an entry of crashes."""
    return max((estimate_share(*counts) for counts in _count_cases(run, draft).values()), default=1)


def _count_cases(run: Run, draft: EntryDraft) -> dict[str, tuple[int, int]]:
    """The numbers of failing and of covered cases in each item that a draft applies to."""
    # With a reason the parser must accept it.
    (entry,) = parse_entries(
        draft.text("a reason"), f"no entry can be made of {bounded(draft.bug.first.id, 200)}"
    )
    counts = dict[str, tuple[int, int]]()
    for verdict in run.verdicts if entry.status == "failed" else ():
        if not applicable_entries((entry,), verdict, run.identity.backend):
            continue
        excuses = Excuses((entry,), EVERY_CHECK[verdict.check])
        failing, passing = (
            sum(excuses.is_covered(case, entry) for case in cases_with_outcome(run, verdict, kind))
            for kind in ("f", "pk")
        )
        if failing:
            counts[verdict.id] = failing, failing + passing
    return counts


def _broad_text(run: Run, entry: EntryDraft) -> str:
    """What an entry without conditions covers, in words; empty for another entry."""
    if not entry.is_unconditional:
        return ""
    names = (
        ", ".join(dict.fromkeys(getattr(v, n) for v in entry.members)) for n in ("layer", "check")
    )
    limit = "any number of them may fail"
    if entry.within is not None:
        limit = f"errors up to {entry.within} bounds are excused"
    elif entry.at_most < 1:
        limit = f"up to {entry.at_most:.0%} of them may fail"
    return f"{': '.join(names)}: covers every case, {limit}"


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
