"""Which operator of torch is to blame for a verdict: the first outside its own bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from conformance.backends.registry import load
from conformance.checks.values import compare
from conformance.commands.replay import find_case, installed_backend
from conformance.layers.describe import case_text
from conformance.model.failure import Failure
from conformance.reports.results import Run
from conformance.run.engine import Engine


@dataclass(frozen=True)
class Culprit:
    """The operators that a case runs, and the first wrong one.

    Args:
        call: the case as text.
        failure: the message of the check, or why the backend declines the case; empty if it passes.
        operators: each an `OperatorRun` of `conformance.backends.operator_trace`, in the order in
            which they ran.
        culprit: the first wrong operator; None if none is wrong.
    """

    call: str
    failure: str
    operators: tuple[Any, ...]
    culprit: Any


def find_culprit(run: Run, id: str, backend: str | None = None) -> Culprit:
    """Replay a verdict's case, and compare every operator that torch runs with its bound.

    Args:
        backend: as on the command line; None = the backend of the results.

    Raises:
        UsageError: if there is no such verdict, it holds no case, or its backend is not installed.
    """
    from conformance.backends.operator_trace import WRONG, OperatorTrace

    _, item, case = find_case(run, id)
    loaded = load(backend or installed_backend(run))
    engine = Engine(loaded, 1, 0)
    watch = OperatorTrace(_error_message, lambda dtype: engine.numerics(replace(item, dtype=dtype)))
    with watch:
        outcome = engine.outcome(item, case, engine.numerics(item))
    first = next((operator for operator in watch.runs if operator.outcome == WRONG), None)
    return Culprit(case_text(case), outcome.message, tuple(watch.runs), first)


def _error_message(name: str, got: Any, expected: Any) -> str:
    try:
        compare(name, got, expected)
    except Failure as failure:
        return str(failure)
    return ""
