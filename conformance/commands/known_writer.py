"""A file of known failures from the results of a run: one entry for each likely cause."""

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
    """What is to be written, and what the reader of it should know.

    Args:
        text: of the file.
        new: how many entries are new: they have no reason yet.
        stale: reasons of entries that no failure of the run rests on; they are left out.
    """

    text: str
    new: int
    stale: tuple[str, ...] = ()


def written(run: Run, earlier: str = "", name: str = "the earlier file") -> Written:
    """The entries of a run's failures, behind those of an earlier file that still hold.

    Args:
        earlier: text of the file that the run was made with, or of an older one.
        name: of that file, for messages.

    Raises:
        KnownError: for a failure of no layer or check of the suite, for what no entry can say, and
            for an earlier file that is none.
        CaseError: for a case that is none.
    """
    for verdict in run.verdicts:
        _must_be_readable(verdict)
    kept, stale, old = _kept(run, earlier, name)
    bugs = summary.clusters(summary.listed(summary.matrix(run)), run.identity.layers)
    entries = [entry for bug in bugs for entry in _entries(run, bug, old)]
    _widen(run, entries, old)
    for entry in entries:  # with a reason it is one that its reader takes
        parse(entry.text("a reason"), f"no entry can be made of {bounded(entry.bug.first.id, 200)}")
    parts = [*kept, *(entry.text() for entry in entries)]
    return Written("\n".join(part.strip("\n") + "\n" for part in parts), len(entries), tuple(stale))


def _kept(run: Run, earlier: str, name: str) -> tuple[list[str], list[str], list[Known]]:
    """Earlier entries that hold, or are about other items; reasons of the others.

    An entry holds if it excused a case of the run or left one out, and if it explains a failure of
    a run that was made without it.

    Returns:
        The text of those that stay, the reasons of those that do not, and those that stay, read.
    """
    holds = {e.reason for v in run.verdicts for e in v.excuses if e.excused or e.left_out}
    layers = {v.layer for v in run.verdicts}
    causes = [cause for v in run.verdicts for cause in by_cause(v) if _writable(cause)]
    kept, stale, old = list[str](), list[str](), list[Known]()
    first, *parts = ENTRY.split(earlier)
    parse(first, name)  # comments, if anything
    for part in parts:
        if not _reason(part):
            continue  # nobody has vouched for it
        (entry,) = parse(part, name)
        reason = entry.reason
        asked = any(named(layer, entry.layer) for layer in layers)
        shows = any(_explains(entry, run, cause) for cause in causes)
        elsewhere = entry.seen and not {*run.identity.places.values()} & {*entry.seen}
        if reason in holds or shows or not asked or entry.by_chance or elsewhere:
            kept.append(part)
            old.append(entry)
        else:
            stale.append(reason)
    return ([first] if first.strip() else []) + kept, stale, old


def _reason(part: str) -> str:
    """The reason of an entry; a text that is no entry is left to be refused."""
    try:
        return str(tomllib.loads(part)["known"][0].get("reason", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "none can be read"


def _must_be_readable(verdict: Verdict) -> None:
    """An entry needs a layer, a check and cases that this version of the suite knows."""
    if not _writable(verdict):
        return
    if verdict.layer not in CATALOGUE or verdict.check not in EVERY_CHECK:
        name = bounded(verdict.id, 200)
        raise KnownError(f"{name}: this version of the suite has no such layer or check")
    for cause in by_cause(verdict):
        case_of(cause)


def _writable(cause: Verdict) -> bool:
    """Whether a cause is the backend's failure, and no complaint about an entry or the run."""
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
    """One entry; checks whose minimal cases do not need what the others need have their own.

    Their conditions are wider, and would excuse more than they have to in the other checks.

    Args:
        bug: the likely cause.
        old: entries that stay; what they explain needs no new one.
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
        # What an invalid call needs is the constraint that it breaks.
        alike = EVERY_CHECK[check].invalid == EVERY_CHECK[members[0].check].invalid
        if alike and all(case is None or entry.covers(case) for case in map(case_of, found)):
            entry.members += found
        else:
            rest += found
    yield entry
    if rest:
        yield Entry(run, bug, rest)


def _widen(run: Run, entries: Sequence[Entry], old: Sequence[Known]) -> None:
    """Drop conditions that leave a failing case of an item uncovered: as few as there can be.

    What an entry that stays covers is left to it, and an entry of what ends the process is not
    asked: cases that only fail are none of its.
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
                # Another broken constraint is another way, not a wider one.
                nearest.ways.append({BROKEN: case.labels[BROKEN]})
                continue
            for name in unmet:
                del way[name]


def write(run: Run, path: Path, *, update: bool = False) -> Written:
    """Write the file.

    Args:
        update: entries of the file that still hold stay as they are.

    Raises:
        FileExistsError: if it is there, and is not to be updated.
    """
    if path.exists() and not update:
        raise FileExistsError(f"{path} is there: --update keeps the reasons of what still holds")
    earlier = read_text(path, MOST) if update and path.exists() else ""
    found = written(run, earlier, str(path))
    write_whole(path, found.text)
    return found
