"""A failure told in full: its minimal case, what it needs, and a script that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .case import Case, Numerics, Unsupported
from .catalogue import CATALOGUE
from .checks import EVERY_CHECK
from .drawing import shrink
from .encoding import encode_case
from .items import Item
from .known import Known
from .log import Log
from .needs import kind_of, needs
from .reproducer import reproducer
from .trial import Failure, Inapplicable, Trial

if TYPE_CHECKING:
    from .engine import Engine

# Seconds that a failure may take to shrink beyond its item's budget.
LEAST_SHRINKING = 1.0


def found_out(
    engine: Engine,
    item: Item,
    numerics: Numerics | None,
    known: Sequence[Known],
    index: int,
    failure: Failure,
    log: Log,
    left: Callable[[], float],
) -> dict[str, object]:
    """The plainest case that fails, and what it tells, as fields of a verdict.

    Args:
        engine: runs cases.
        item, numerics, known: what is checked, and what is known to fail in it.
        index, failure: of the first case that failed.
        log: what came of the cases so far.
        left: seconds of the item's budget that are left.
    """
    allowed = min(left() - LEAST_SHRINKING, 0.0)
    checked = log.checked

    def told(candidate: Case) -> Failure | int | None:
        """How a case fails, or how many numbers it compared; None where nothing can be said."""
        if left() < allowed or any(entry.covers(candidate) for entry in known):
            return None
        engine.note("shrinking", index, checked)
        try:
            return engine.try_case(item, candidate, numerics).comparisons
        except (Unsupported, Inapplicable):
            return None
        except Failure as failure:
            return failure

    def fails(candidate: Case) -> Failure | None:
        found = told(candidate)
        return found if isinstance(found, Failure) else None

    def alike(candidate: Case) -> bool | None:
        found = told(candidate)
        if isinstance(found, Failure):
            return True if kind_of(found) == kind_of(failure) else None
        return False if found else None

    invalid = EVERY_CHECK[item.check].invalid
    minimal = shrink(
        item.layer, item.dtype, engine.examples, engine.seed, index, fails,
        invalid=invalid, values=engine.values,
    )  # fmt: skip
    case, note = log.cases[index], ""
    if minimal is None:
        note = "\nnote: the same case did not fail again when it was repeated"
    else:
        case, failure = minimal
    trial = Trial(engine.backend, CATALOGUE[item.layer], on_device(case, item.device), numerics)
    return {
        "message": f"{trial.text()}\n{failure}{note}",
        "call": trial.text(),
        "case": encode_case(trial.case),
        "needs": () if invalid or minimal is None else needs(trial.case, alike),
        "reproducer": reproducer(trial, item.check, str(failure)),
    }


def on_device(case: Case, device: str) -> Case:
    """The case on a device; the same object where it can be: the oracle's answer is kept with it.

    Args:
        case: the case.
        device: its name.
    """
    if case.call.device == device:
        return case
    return replace(case, call=replace(case.call, device=device))
