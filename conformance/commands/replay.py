"""Run the minimal case of a verdict again in a separate process, without Hypothesis or pytest."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from conformance.backends.capabilities import devices_of, is_offered
from conformance.backends.registry import available, load
from conformance.checks import EVERY_CHECK
from conformance.commands.replayed import (
    DECLINED,
    FAILS,
    INAPPLICABLE,
    MOST_TELLING,
    OTHERWISE,
    PASSES,
    UNTRIED,
    Replayed,
)
from conformance.isolation.guard_library import build_library
from conformance.isolation.process import Child, ChildDied, ChildError
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import (
    MAX_FILE_BYTES,
    KnownFailure,
    applicable_entries,
    matches_globs,
    parse_entries,
)
from conformance.layers import CATALOGUE, COMPLEX, DTYPES
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_verdict_case
from conformance.model.case import Case, Verdict
from conformance.model.files import read_text
from conformance.model.limits import Limits, memory_per_worker
from conformance.model.plain_text import bounded
from conformance.model.protocols import ENTRY_POINTS, Backend
from conformance.model.usage_error import UsageError
from conformance.reports.results import Run
from conformance.run.stale import checks_of_entry

TIMEOUT, ENTRY_SECONDS = 60.0, 20.0
"""Seconds of the case of a verdict, and of one of the many pinned cases of a file."""


def installed_backend(run: Run) -> str:
    """The name of the entry point of a run's backend.

    A module that a results file names is not imported: the file could run any code.

    Raises:
        UsageError: if no such entry point is installed.
    """
    name = run.identity.options.get("backend", run.identity.backend)
    if name in available():
        return name
    shortened_name = bounded(name, 200)
    raise UsageError(
        f"the results name the backend {shortened_name!r}, which is not an installed entry point "
        f"of {ENTRY_POINTS}; modules that a results file names are not imported: expected "
        "--backend=NAME, or --backend=package.module:attribute of your own choice"
    )


def find_case(run: Run, id: str) -> tuple[Verdict, Item, Case]:
    """A verdict, its item and its case.

    Raises:
        UsageError: if there is no such verdict, or it has no case that can run.
    """
    verdict = run.verdict(id)
    case = decode_verdict_case(verdict)
    if case is None:
        raise UsageError(f"{verdict.id} is {verdict.status} and holds no case")
    if case.call.layer not in CATALOGUE or verdict.check not in EVERY_CHECK:
        raise UsageError(f"{verdict.id}: this version of the suite has no such layer or check")
    return verdict, Item.of_verdict(verdict), case


@contextmanager
def backend_process(
    backend: str, *, guard: bool = False, seconds: float = TIMEOUT
) -> Iterator[Child]:
    """Start a child process that runs single cases on a backend.

    Args:
        guard: the memory of the backend is guarded.
        seconds: time limit of a case.

    Raises:
        UsageError: if it cannot start, or the suite itself fails in it.
    """
    library = build_library() if guard else None
    child = Child(backend, 1, 0, (), Limits(seconds, memory_per_worker(1)), guard=library)
    try:
        yield child
    except ChildError as error:
        raise UsageError(str(error)) from error
    finally:
        child.stop()


def trial_items(backend: Backend, entry: KnownFailure, device: str) -> Iterator[Item]:
    """The items to try an entry's pinned cases in: one for each case and dtype."""
    if not entry.strict:
        return
    # An entry for every dtype does not mean complex dtypes, which most layers lack.
    dtypes = DTYPES if entry.dtype == "*" else (*DTYPES, *COMPLEX)
    for dtype in dtypes:
        pinned = {id: case for id, case in entry.cases.items() if id.endswith(f"-{dtype}-{device}")}
        names = [id.split("-") for id in pinned]
        items = [Item(layer, check, dtype, device) for layer, check, *_ in names]
        if entry.case is not None:
            layer = entry.case.call.layer
            checks = [name for name in EVERY_CHECK if matches_globs(name, entry.check)]
            items += [Item(layer, check, dtype, device) for check in checks]
        for item in items:
            case = entry.pinned_case(dtype, device, item.id)
            applies = applicable_entries((entry,), item, backend.name)
            if case is None or not applies or not checks_of_entry(item, entry, case):
                continue
            if is_offered(backend, item.layer, dtype, device):
                yield item
            if item.id not in entry.cases:
                break  # The other checks would try the same case.


def replay(run: Run, id: str, backend: str | None = None) -> Replayed:
    """Run a verdict's case.

    Args:
        backend: as on the command line; None = the backend of the results, if it is installed.

    Raises:
        UsageError: if there is no such verdict, it holds no case, or its backend is not installed.
    """
    verdict, item, case = find_case(run, id)
    guard = run.identity.options.get("memory-guard") == "yes"
    with backend_process(backend or installed_backend(run), guard=guard) as child:
        outcome = run_case(child, item, case)
    if outcome.status == "unknown":
        (*_, last) = outcome.message.strip().splitlines() or [""]
        raise UsageError(f"{verdict.id}: its case cannot be run: {bounded(last, 500)}")
    word = _describe(outcome, lambda: _fails_alike(verdict, outcome))
    message = {
        PASSES: f"passed, {outcome.comparisons} numbers compared",
        INAPPLICABLE: "the check does not apply",
        DECLINED: f"unsupported: {outcome.message}",
    }.get(word, outcome.message)
    return Replayed(verdict.id, word, f"{case_text(case)}\n{message}")


def replay_entries(path: Path, number: str, backend: str | None = None) -> Iterator[Replayed]:
    """Run the pinned cases of a file of known failures, whatever versions an entry is of.

    An entry fails if one of its cases fails as it says.

    Args:
        number: of the entry, from 1; empty for all.
        backend: None = the backend of the file's name.

    Raises:
        UsageError: if there is no such entry.
        OSError, KnownFailureError: if it is not a file of known failures.
    """
    entries = list(enumerate(parse_entries(read_text(path, MAX_FILE_BYTES), str(path)), 1))
    chosen = [(k, entry) for k, entry in entries if number in ("", str(k))]
    if not chosen:
        raise UsageError(f"{path} has no entry {number!r}: expected 1 to {len(entries)}")
    name = backend or path.stem
    loaded = load(name)
    with backend_process(name, seconds=ENTRY_SECONDS) as child:
        for k, entry in chosen:
            yield _replay_entry(child, loaded, str(k), entry)


def _replay_entry(child: Child, backend: Backend, id: str, entry: KnownFailure) -> Replayed:
    anywhere = replace(entry, versions={}, cpu={}, strict=True)
    best = Replayed(id, UNTRIED, "no pinned case can run here")
    for item in trial_items(backend, anywhere, devices_of(backend)[0]):
        case = entry.pinned_case(item.dtype, item.device, item.id)
        assert case is not None
        for check in checks_of_entry(item, entry, case):
            outcome = run_case(child, replace(item, check=check), case)
            word = _describe(outcome, lambda o=outcome: _is_as_said(entry, o))  # type: ignore[misc]
            if MOST_TELLING.index(word) < MOST_TELLING.index(best.outcome):
                best = Replayed(id, word, f"{case_text(case)}\n{outcome.message or word}")
            if word == FAILS:
                return best
    return best


def run_case(child: Child, item: Item, case: Case, **options: str) -> Outcome:
    """The outcome of a case; one that ends the process has an outcome, too.

    Args:
        options: those of `Child.outcome`.
    """
    try:
        return child.outcome(item, case, **options)
    except ChildDied as died:
        return Outcome(died.status, f"{died.status}: {died}")


def _describe(outcome: Outcome, is_alike: Callable[[], bool]) -> str:
    if outcome.is_failure:
        return FAILS if is_alike() else OTHERWISE
    return {"passed": PASSES, "unsupported": DECLINED, "invalid": INAPPLICABLE}.get(
        outcome.status, OTHERWISE
    )


def _fails_alike(verdict: Verdict, outcome: Outcome) -> bool:
    """Whether the process ends as before, or a number is wrong or the exception raised again."""
    before, now = verdict.failure, outcome.failure
    if before is None or now is None:
        return outcome.status == verdict.status or before is now is None
    return (before.kind, before.exception) == (now.kind, now.exception)


def _is_as_said(entry: KnownFailure, outcome: Outcome) -> bool:
    if outcome.status != entry.status:
        return False
    return entry.ends_process or fnmatch.fnmatchcase(outcome.message, entry.said)
