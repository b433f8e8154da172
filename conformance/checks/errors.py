"""`errors`: the backend refuses an invalid call by an exception meant for that."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import Any

from conformance.backends.capabilities import accepts_of, refusals_of
from conformance.backends.foreign_calls import original_exception
from conformance.checks.trial import Evidence, Trial
from conformance.layers.documented import documented_layers, find_quote
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Accepted, Failure, Inapplicable
from conformance.model.finding import Finding, raising_frame
from conformance.model.proof import Proof
from conformance.model.untrusted import class_name, exception_text, type_name
from conformance.spec.layer_spec import LayerSpec

# No page of torch promises a class of exceptions. Others, such as an AttributeError, are mistakes
# of the implementation itself.
REFUSALS: tuple[type[BaseException], ...] = (
    ValueError, TypeError, RuntimeError, IndexError, KeyError, AssertionError, ZeroDivisionError
)  # fmt: skip
# Code that validates nothing ends in these, too: on an empty state, for example.
ACCIDENTS = (IndexError, KeyError, AssertionError, ZeroDivisionError, AttributeError)


def applies_to(spec: LayerSpec) -> bool:
    """Whether a page of torch rules some invalid call of a layer out; others may be accepted."""
    has_constraint = not spec.in_torch or spec.name in documented_layers()
    return spec.generation.invalid is not None and has_constraint


def check(trial: Trial) -> Evidence:
    """Build and call an invalid case, whose labels say what is broken, and expect a refusal.

    If torch's page states the broken constraint (`find_quote`), or torch lacks the layer, the
    backend must refuse the call by an exception that refuses. A constraint of which the page says
    nothing is customary: the backend may accept the call, or refuse it by any exception.

    Raises:
        Failure: if a documented constraint is accepted, or ends in an exception that is not a
            refusal.
        Accepted: if the backend accepts such calls on purpose (`accepts`), or a call whose
            constraint is customary.
        Inapplicable: if the corresponding valid call ends in the same exception.
    """
    labels = trial.case.labels
    broken, argument = str(labels.get("broken", "invalid call")), str(labels.get("argument", ""))
    documented = not trial.spec.in_torch or bool(find_quote(trial.spec.name, broken, argument))
    refusals = (*REFUSALS, *refusals_of(trial.backend))
    if "missing" in labels:
        # Python raises this on None, and so does torch in some functions.
        refusals = (*refusals, AttributeError)
    exception = frame = says = ""
    try:
        outcome = f"accepted silently: {_run_call(trial, trial.case)}"
    except (Unsupported, Failure):
        raise
    except refusals as error:
        if isinstance(error, ACCIDENTS):
            _require_other_outcome(trial, error)
        return Evidence(1)
    except Exception as error:
        _require_other_outcome(trial, error)
        if not documented:
            return Evidence(1)
        original_error = original_exception(error)
        exception_name = type_name(original_error)
        exception, frame, says = (
            exception_name,
            raising_frame(original_error),
            exception_text(original_error) or "no message",
        )
        outcome = f"raised {exception_name}: {says}"
    else:
        if _accepts(trial, broken):
            raise Accepted(broken, f"accepted on purpose: {broken}")
        if not documented:
            raise Accepted(broken, outcome)
    wanted = " or ".join(", ".join(map(class_name, refusals)).rsplit(", ", 1))
    raise Failure(
        Finding(
            "refusal", broken, f"(argument {argument or 'unknown'})",
            got=outcome, wanted=f"a refusal: {wanted}",
            exception=exception, frame=frame, says=says,
        ),
        Proof((), refusals=refusals),
    )  # fmt: skip


def _require_other_outcome(trial: Trial, error: Exception) -> None:
    """Raise Inapplicable if the corresponding valid call ends in an exception of the same class."""
    unbroken = trial.case.unbroken
    if unbroken is None:
        return
    device = trial.case.call.device
    try:
        _run_call(trial, replace(unbroken, call=replace(unbroken.call, device=device)))
    except Exception as valid_error:
        kind = type(original_exception(valid_error))
        if kind is type(original_exception(error)):
            why = "; this check loads no state" if trial.spec.state_names else ""
            text = f"the valid call raises {class_name(kind)}, too{why}"
            raise Inapplicable(text) from error


def _accepts(trial: Trial, broken: str) -> bool:
    """Whether the backend declares, by a glob, that it accepts this broken constraint."""
    return any(fnmatch.fnmatchcase(broken, glob) for glob in accepts_of(trial.backend))


def _run_call(trial: Trial, case: Case) -> str:
    """Run the call and describe the outputs' shapes; exceptions of the backend pass through."""
    trial.trial_of(case).note_step("call")
    state = trial.spec.state.constructor_state(case.call.state)
    layer = trial.backend.build(replace(case.call, state=state))
    inputs = [None if array is None else layer.put(array.copy()) for array in case.inputs]
    result = layer(*inputs, **case.keywords)
    # An absent output is not a refusal.
    outputs = [x for x in (result if type(result) is tuple else (result,)) if x is not None]
    return "output of shape " + ", ".join(_shape(layer, native) for native in outputs)


def _shape(layer: Any, native: Any) -> str:
    """Read the shape of an output; a backend that computes lazily raises only here."""
    try:
        return str(layer.get(native).shape)
    except Unsupported:
        shape_method = getattr(layer, "shape", None)
        return str(tuple(shape_method(native))) if shape_method is not None else "unknown"
