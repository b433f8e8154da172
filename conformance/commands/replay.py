"""Running the minimal case of a verdict again, without drawing and pytest, in its own process."""

from __future__ import annotations

from conformance.backends.registry import GROUP, available
from conformance.checks import EVERY_CHECK
from conformance.isolation.process import Child, ChildError, Died
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_case
from conformance.model.case import Case, Verdict
from conformance.model.limits import Limits, share_of_memory
from conformance.model.plain_text import bounded
from conformance.reports.results import Run, UnknownVerdictError

TIMEOUT = 60.0


class ReplayError(ValueError):
    """A verdict that cannot be replayed."""


def installed_backend(run: Run) -> str:
    """The backend that a run was made with, by the name of its entry point.

    What else a file names is not imported: it would run whatever the file says.

    Raises:
        ReplayError: if it is no entry point here.
    """
    name = run.identity.options.get("backend", run.identity.backend)
    if name in available():
        return name
    shown = bounded(name, 200)
    raise ReplayError(
        f"the results name the backend {shown!r}, which is no installed entry point of {GROUP}; "
        "what a results file names is not imported: expected --backend=NAME, or "
        "--backend=package.module:attribute of your own choice"
    )


def case_of(run: Run, id: str) -> tuple[Verdict, Case]:
    """A verdict and its case.

    Raises:
        ReplayError: if there is no such verdict, or it holds no case that can be run.
    """
    try:
        verdict = run.verdict(id)
    except UnknownVerdictError as error:
        raise ReplayError(str(error)) from None
    if verdict.case is None:
        raise ReplayError(f"{verdict.id} is {verdict.status} and holds no case")
    try:
        case = decode_case(verdict.case)
    except (KeyError, TypeError, ValueError) as error:
        said = bounded(str(error))
        raise ReplayError(f"{verdict.id}: its case cannot be read: {said}") from error
    if case.call.layer not in CATALOGUE or verdict.check not in EVERY_CHECK:
        raise ReplayError(f"{verdict.id}: this version of the suite has no such layer or check")
    return verdict, case


def replay(run: Run, id: str, backend: str | None = None) -> tuple[bool, str]:
    """Run a verdict's case.

    Args:
        backend: as on the command line; None = the one that the results were made with, if that
            is installed.

    Returns:
        Whether the check passes now, and what to print.

    Raises:
        ReplayError: if there is no such verdict, it holds no case, or its backend is not installed.
    """
    verdict, case = case_of(run, id)
    id, call = verdict.id, case.call
    for field in ("layer", "dtype", "device"):
        found, expected = getattr(call, field), getattr(verdict, field)
        if found != expected:
            raise ReplayError(
                f"{id}: its case is a call of {field} {bounded(found, 200)!r}, "
                f"expected {bounded(expected, 200)!r} as of the verdict"
            )
    name = backend or installed_backend(run)
    child = Child(name, 1, 0, (), Limits(TIMEOUT, share_of_memory(1)))
    item = {"layer": call.layer, "check": verdict.check, "dtype": call.dtype}
    item["device"] = call.device
    text = case_text(case)
    try:
        outcome = child.ask({"item": item, "case": verdict.case})
    except ChildError as error:
        raise ReplayError(str(error)) from error
    except Died as died:
        return False, f"{text}\n{died.status}: {died}"
    finally:
        child.stop()
    if "raised" in outcome:
        (*_, last) = str(outcome["raised"]).strip().splitlines() or [""]
        raise ReplayError(f"{id}: its case cannot be run: {bounded(last, 500)}")
    if outcome["status"] == "passed":
        return True, f"{text}\npassed, {outcome['evidence']['comparisons']} numbers compared"
    if outcome["status"] == "invalid":
        return True, f"{text}\nthe check does not apply"
    if outcome["status"] == "unsupported":
        return False, f"{text}\nunsupported: {outcome['message']}"
    return False, f"{text}\n{outcome['message']}"
