"""`errors`: an invalid call is refused, by an exception that says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..case import Unsupported
from ..trial import Evidence, Failure, Inapplicable, Trial

SENSIBLE: tuple[type[BaseException], ...] = (ValueError, TypeError, RuntimeError)


def check(trial: Trial) -> Evidence:
    """Build and call; a refusal is asked for.

    Args:
        trial: an invalid case, labelled with what is broken in it, on the backend.

    Raises:
        Failure: if the call is accepted, or ends in an exception that is no refusal.
        Inapplicable: if it is accepted, and torch does not say that it must not be.
    """
    refusals = (*SENSIBLE, *_own(getattr(trial.backend, "refusals", ())))
    wanted = " or ".join(", ".join(kind.__name__ for kind in refusals).rsplit(", ", 1))
    try:
        outcome = f"accepted silently: {_answer(trial)}"
    except Unsupported:
        raise
    except refusals:
        return Evidence(1)
    except (Exception, SystemExit) as error:
        said = str(error).strip() or "no message"
        outcome = f"raised {type(error).__name__}: {said}"
    else:
        if trial.case.labels.get("required") == "customary":
            raise Inapplicable(outcome)
    labels = trial.case.labels
    raise Failure(
        f"{labels.get('broken', 'invalid call')} (argument {labels.get('argument', 'unknown')})\n"
        f"  got    {outcome}\n"
        f"  wanted a refusal: {wanted}"
    )


def _own(refusals: Any) -> tuple[type[BaseException], ...]:
    """The classes that a backend names, one or several."""
    return tuple(refusals) if isinstance(refusals, Iterable) else (refusals,)


def _answer(trial: Trial) -> str:
    """The outputs' shapes; whatever the backend raises on the way to them is passed on."""
    case = trial.case
    layer = trial.backend.build(replace(case.call, state={}))
    inputs = [None if array is None else layer.put(array.copy()) for array in case.inputs]
    result = layer(*inputs, **case.keywords)
    outputs = result if isinstance(result, (tuple, list)) else (result,)
    return "output of shape " + ", ".join(_shape(layer, native) for native in outputs)


def _shape(layer: Any, native: Any) -> str:
    """A lazily computing backend refuses no earlier than here."""
    try:
        return str(layer.get(native).shape)
    except Unsupported:
        own = getattr(layer, "shape", None)
        return str(tuple(own(native))) if own is not None else "unknown"
