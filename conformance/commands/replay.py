"""Run the minimal case of a verdict again in a separate process, without Hypothesis or pytest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from conformance.backends.registry import available
from conformance.checks import EVERY_CHECK
from conformance.isolation.guard_library import build_library
from conformance.isolation.process import Child, ChildDied, ChildError
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_verdict_case
from conformance.model.case import Case, Verdict
from conformance.model.limits import Limits, memory_per_worker
from conformance.model.plain_text import bounded
from conformance.model.protocols import ENTRY_POINTS
from conformance.model.usage_error import UsageError
from conformance.reports.results import Run

TIMEOUT = 60.0


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
def backend_process(backend: str, *, guard: bool = False) -> Iterator[Child]:
    """Start a child process that runs single cases on a backend.

    Args:
        guard: the memory of the backend is guarded.

    Raises:
        UsageError: if it cannot start, or the suite itself fails in it.
    """
    library = build_library() if guard else None
    child = Child(backend, 1, 0, (), Limits(TIMEOUT, memory_per_worker(1)), guard=library)
    try:
        yield child
    except ChildError as error:
        raise UsageError(str(error)) from error
    finally:
        child.stop()


def replay(run: Run, id: str, backend: str | None = None) -> tuple[bool, str]:
    """Run a verdict's case.

    Args:
        backend: as on the command line; None = the backend of the results, if it is installed.

    Returns:
        Whether the check passes now, and what to print.

    Raises:
        UsageError: if there is no such verdict, it holds no case, or its backend is not installed.
    """
    verdict, item, case = find_case(run, id)
    text = case_text(case)
    guard = run.identity.options.get("memory-guard") == "yes"
    with backend_process(backend or installed_backend(run), guard=guard) as child:
        try:
            outcome = child.outcome(item, case)
        except ChildDied as died:
            return False, f"{text}\n{died.status}: {died}"
    if outcome.status == "unknown":
        (*_, last) = outcome.message.strip().splitlines() or [""]
        raise UsageError(f"{verdict.id}: its case cannot be run: {bounded(last, 500)}")
    if outcome.status == "passed":
        return True, f"{text}\npassed, {outcome.comparisons} numbers compared"
    if outcome.status == "invalid":
        return True, f"{text}\nthe check does not apply"
    if outcome.status == "unsupported":
        return False, f"{text}\nunsupported: {outcome.message}"
    return False, f"{text}\n{outcome.message}"
