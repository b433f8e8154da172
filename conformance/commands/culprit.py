"""Which operator of torch is to blame for a verdict: the first outside its own bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conformance.backends.declared import numerics_of
from conformance.backends.registry import load
from conformance.checks import EVERY_CHECK
from conformance.checks.trial import Trial
from conformance.checks.values import compare
from conformance.commands.replay import found, installed_backend
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.case import Unsupported
from conformance.model.failure import Failure
from conformance.reports.results import Run


@dataclass(frozen=True)
class Culprit:
    """What ran, and who is to blame.

    Args:
        call: the case.
        failure: what the check says of it; empty where it passes now.
        ran: the operators (`conformance.backends.dispatched.Ran`), in their order.
        culprit: the first that is wrong; None where none is.
    """

    call: str
    failure: str
    ran: tuple[Any, ...]
    culprit: Any


def culprit(run: Run, id: str, backend: str | None = None) -> Culprit:
    """Replay a verdict's case, and hold every operator that torch runs against its bound.

    Args:
        backend: as on the command line; None = the one that the results were made with.

    Raises:
        UsageError: if there is no such verdict, it holds no case, or its backend is not installed.
    """
    from conformance.backends.dispatched import WRONG, Watch

    verdict, _, case = found(run, id)
    loaded = load(backend or installed_backend(run))
    numerics = numerics_of(loaded, verdict.dtype)
    trial = Trial(loaded, CATALOGUE[case.call.layer], case, numerics)
    watch = Watch(_wrong, lambda dtype: numerics_of(loaded, dtype))
    failure = ""
    with watch:
        try:
            EVERY_CHECK[verdict.check].run(trial)
        except Failure as failed:
            failure = str(failed)
        except Unsupported as declined:
            failure = f"declined: {declined}"
    first = next((one for one in watch.ran if one.outcome == WRONG), None)
    return Culprit(case_text(case), failure, tuple(watch.ran), first)


def _wrong(name: str, got: Any, expected: Any) -> str:
    try:
        compare(name, got, expected)
    except Failure as failure:
        return str(failure)
    return ""
