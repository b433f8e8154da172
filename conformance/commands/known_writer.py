"""Write a file of known failures from the results of a run: one entry for each likely cause."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.checks import EVERY_CHECK
from conformance.commands.crash_conditions import cases_of
from conformance.commands.known_entry import BROKEN, Entry
from conformance.known.entry import MOST, Known, KnownError, applying, named, parse
from conformance.layers import CATALOGUE
from conformance.layers.encoding import case_of
from conformance.matching.facts import Facts
from conformance.model.case import Verdict
from conformance.model.files import read_text, write_whole
from conformance.model.plain_text import bounded
from conformance.reports import summary
from conformance.reports.clusters import Cluster, by_cause
from conformance.reports.results import Run
from conformance.reports.statuses import status

ENTRY = re.compile(r"(?m)^(?=\[\[known\]\])")
_NO_FAILURE = ("allowance", "declared", "internal", "stale", "support", "unchecked")


@dataclass(frozen=True)
class Written:
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


def written(run: Run, earlier: str = "", name: str = "the earlier file") -> Written:
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
        _must_be_readable(verdict)
    kept, stale, old = _kept(run, earlier, name)
    bugs = summary.clusters(summary.listed(summary.matrix(run)), run.identity.layers)
    entries = [entry for bug in bugs for entry in _entries(run, bug, old)]
    _widen(run, entries, old)
    for entry in entries:  # With a reason the parser must accept it.
        parse(entry.text("a reason"), f"no entry can be made of {bounded(entry.bug.first.id, 200)}")
    parts = [*kept, *(entry.text() for entry in entries)]
    return Written("\n".join(part.strip("\n") + "\n" for part in parts), len(entries), tuple(stale))


def _kept(run: Run, earlier: str, name: str) -> tuple[list[str], list[str], list[Known]]:
    """Split earlier entries into those that hold or concern other items, and stale ones.

    An entry holds if the run excused or left out a case by it. It also holds if it explains a
    failure of the run, which may have run without it.

    Returns:
        The texts of the entries to keep, the reasons of the stale ones, and the kept ones parsed.
    """
    holds = {e.reason for v in run.verdicts for e in v.excuses if e.excused or e.left_out}
    layers = {v.layer for v in run.verdicts}
    causes = [cause for v in run.verdicts for cause in by_cause(v) if _writable(cause)]
    kept, stale, old = list[str](), list[str](), list[Known]()
    first, *parts = ENTRY.split(earlier)
    parse(first, name)  # Only comments may precede the first entry.
    for part in parts:
        if not _reason(part):
            continue  # Nobody has confirmed it with a reason.
        (entry,) = parse(part, name)
        reason = entry.reason
        asked = any(named(layer, entry.layer) for layer in layers)
        shows = any(_explains(entry, run, cause) for cause in causes)
        elsewhere = entry.seen and not {*run.identity.places.values()} & {*entry.seen}
        if reason in holds or shows or not asked or not entry.strict or elsewhere:
            kept.append(part)
            old.append(entry)
        else:
            stale.append(reason)
    return ([first] if first.strip() else []) + kept, stale, old


def _reason(part: str) -> str:
    """The reason of an entry; a dummy reason for invalid text, which `parse` then refuses."""
    try:
        return str(tomllib.loads(part)["known"][0].get("reason", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "none can be read"


def _must_be_readable(verdict: Verdict) -> None:
    """Check that this version of the suite knows the layer, the check and the cases.

    Raises:
        KnownError: if it lacks the layer or the check.
        CaseError: if a case cannot be decoded.
    """
    if not _writable(verdict):
        return
    if verdict.layer not in CATALOGUE or verdict.check not in EVERY_CHECK:
        name = bounded(verdict.id, 200)
        raise KnownError(f"{name}: this version of the suite has no such layer or check")
    for cause in by_cause(verdict):
        case_of(cause)


def _writable(cause: Verdict) -> bool:
    """Whether a cause is a failure of the backend, not a complaint about an entry or the run."""
    failed = status(cause) in ("failed", "crashed", "hung")
    return failed and (cause.failure is None or cause.failure.kind not in _NO_FAILURE)


def _explains(entry: Known, run: Run, cause: Verdict) -> bool:
    """Whether an entry explains the minimal case of a cause."""
    case, failure = case_of(cause), cause.failure
    if case is None or not applying((entry,), cause, run.identity.backend):
        return False
    found = Facts(case, None if failure is None else failure.layouts)
    if entry.status != status(cause):
        return False
    excess = None if failure is None else failure.excess
    return entry.explains(found, cause.message or "", excess)


def _entries(run: Run, bug: Cluster, old: Sequence[Known]) -> Iterator[Entry]:
    """Draft an entry for a cause, and a second one for checks that need other conditions.

    The wider conditions of those checks would excuse too much in the first check.

    Args:
        bug: the likely cause.
        old: kept entries; failures that they explain need no new entry.
    """
    members = [v for v in bug.members if _writable(v)]
    members = [v for v in members if not any(_explains(entry, run, v) for entry in old)]
    if not members:
        return
    checks: dict[str, list[Verdict]] = {}
    for verdict in members:
        checks.setdefault(verdict.check, []).append(verdict)
    entry = Entry(run, bug, checks.pop(members[0].check))
    rest = list[Verdict]()
    for check, found in checks.items():
        # The condition of an invalid call is the broken constraint, which valid calls lack.
        alike = EVERY_CHECK[check].invalid == EVERY_CHECK[members[0].check].invalid
        if alike and all(case is None or entry.covers(case) for case in map(case_of, found)):
            entry.members += found
        else:
            rest += found
    yield entry
    if rest:
        yield Entry(run, bug, rest)


def _widen(run: Run, entries: Sequence[Entry], old: Sequence[Known]) -> None:
    """Drop as few conditions as possible, so that every failing case of an item is covered.

    Cases that a kept entry covers need no change. Entries of crashes do not take part: they do not
    cover cases that only fail.
    """
    failing = [entry for entry in entries if entry.status == "failed"]
    for verdict in run.verdicts:
        ours = [e for e in failing if any(m.id == verdict.id for m in e.members)]
        if not ours:
            continue
        theirs = applying(old, verdict, run.identity.backend).values()
        for case in cases_of(run, verdict, "f"):
            if any(entry.covers(case) for entry in theirs):
                continue
            nearest = min(ours, key=lambda entry: len(entry.unmet(case)[1]))
            way, unmet = nearest.unmet(case)
            if BROKEN in unmet:
                # Another broken constraint needs a way of its own.
                nearest.ways.append({BROKEN: case.labels[BROKEN]})
                continue
            for name in unmet:
                del way[name]


def write(run: Run, path: Path, *, update: bool = False) -> Written:
    """Write a file of known failures, and return what was written.

    Args:
        update: keep the entries of an existing file that still hold.

    Raises:
        FileExistsError: if the file exists and `update` is false.
    """
    if path.exists() and not update:
        raise FileExistsError(f"{path} exists: --update keeps the entries that still hold")
    earlier = read_text(path, MOST) if update and path.exists() else ""
    found = written(run, earlier, str(path))
    write_whole(path, found.text)
    return found
