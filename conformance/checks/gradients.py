"""`gradients`: vector-Jacobian products for every input and every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from conformance.checks import cotangents
from conformance.checks.answers import Expected, Pulled
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare, nearness
from conformance.matching.facts import asked_alone
from conformance.model.case import Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import counted, differs


def check(trial: Trial) -> Evidence:
    """Compare vector-Jacobian products of two calls, and outputs while recording, with the oracle.

    Raises:
        Failure: if a gradient is missing, unexpected, of the wrong shape, or beyond its bound; if a
            second call accumulates; if outputs are wrong while gradients are recorded.
        Unsupported: if the backend offers no gradients.
    """
    if getattr(trial.layer, "vjp", None) is None:
        raise Unsupported("gradients not offered")
    wanted = cotangents.pulled(trial)
    evidence = Evidence()
    for again in ("", "of a second call"):
        subject = _as_before(trial) if again else trial
        natives = cotangents.put(subject, wanted.cotangents)
        evidence += held(subject, differentiated(subject, natives), wanted, again)
    if (some := asked_alone(trial.case)) and hasattr(trial.layer, "vjp_of"):
        subject = _as_before(trial)
        evidence += alone(subject, cotangents.put(subject, wanted.cotangents), wanted, some)
    if trial.row.lazy and hasattr(trial.layer, "load"):
        # A backend without initial values is for the check `state`, not for this one.
        with suppress(Unsupported):
            evidence += _materialised(trial, wanted)
    return evidence + _recorded_forward(trial.afresh())


def differentiated(trial: Trial, natives: Sequence[Any]) -> Any:
    """Call `vjp` on the case's inputs; `natives` are the cotangents."""
    vjp = trial.layer.vjp  # type: ignore[attr-defined]
    return trial.step("vjp", vjp, trial.natives, natives, **trial.case.keywords)


def alone(trial: Trial, natives: Sequence[Any], wanted: Pulled, some: frozenset[str]) -> Evidence:
    """Compare the gradients of the inputs and parameters in `some`, requested by `vjp_of`.

    `natives` are the cotangents.

    Raises:
        Failure: as `held`; or if there is a gradient that was not requested.
    """
    names = tuple(sorted(some))
    try:
        vjp_of = trial.layer.vjp_of  # type: ignore[attr-defined]
        result = trial.step("vjp_of", vjp_of, names, trial.natives, natives, **trial.case.keywords)
        return held(trial, result, wanted.only(some, trial.row.signature.input_names))
    except Failure as failure:
        asked = f"where only the gradient of {' and '.join(names)} is asked for"
        raise Failure(failure.finding.within(asked)) from failure


def _as_before(trial: Trial) -> Trial:
    """Return a trial of the same layer with state and inputs as before its call."""
    if not trial.row.traits.updates(trial.case.call):
        return trial
    state = {name: array.copy() for name, array in trial.case.call.state.items()}
    if state and hasattr(trial.layer, "load"):
        trial.step("load", trial.layer.load, state, dict(trial.case.call.layouts))
    return trial.repeated()


def _materialised(trial: Trial, wanted: Pulled) -> Evidence:
    """Check the gradients of a lazy layer whose parameters were made by its first call."""
    call = trial.case.call
    new = trial.other(replace(trial.case, call=replace(call, state={}, layouts={})))
    layer = new.layer
    trial.step("the first call", layer, *new.natives, **new.case.keywords)
    state = {name: array.copy() for name, array in call.state.items()}
    trial.step("load", layer.load, state, {})  # type: ignore[attr-defined]
    result = differentiated(new, cotangents.put(new, wanted.cotangents))
    return held(new, result, wanted, "after a first call without a state")


def held(trial: Trial, result: Any, wanted: Pulled, again: str = "") -> Evidence:
    """Compare the result of `vjp` with the expected gradients.

    Args:
        result: a tuple for the inputs, and a mapping for the parameters.
        again: which of several calls it was, for the message.

    Raises:
        Failure: if a gradient is missing, unexpected, of the wrong shape, or beyond its bound.
    """
    got_inputs, got_parameters = result
    _same_names(got_parameters, wanted.parameters)
    if len(got_inputs) != len(wanted.inputs):
        raise Failure(counted("input gradients", len(got_inputs), len(wanted.inputs)))
    pairs = [
        (f"gradient of {name}", got, expected)
        for name, got, expected in zip(
            trial.row.signature.input_names, got_inputs, wanted.inputs, strict=False
        )
    ]
    pairs += [
        (f"gradient of {name}", got_parameters[name], expected)
        for name, expected in wanted.parameters.items()
    ]
    evidence = Evidence()
    for name, got, expected in pairs:
        evidence += _compared(trial, name, got, expected, again)
    return evidence


def _same_names(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if set(got) != set(wanted):
        raise Failure(differs("names", "parameter gradients", sorted(got), sorted(wanted)))


def _compared(trial: Trial, name: str, got: Any, wanted: Expected | None, again: str) -> Evidence:
    if wanted is None:
        if got is not None:
            none = "None: it has no gradient"
            raise Failure(differs("presence", name, "an array", none, when=again))
        return Evidence(1)
    if got is None:
        array = f"an array of shape {wanted.shape}"
        raise Failure(differs("presence", name, "None", array, when=again))
    numbers = trial.get(got)
    evidence = compare(name, numbers, wanted, when=again, kind="gradient")
    return evidence + nearness(trial, name, numbers, wanted)


def _recorded_forward(trial: Trial) -> Evidence:
    """Compare the outputs computed while gradients are recorded, if the backend offers that."""
    forward = getattr(trial.layer, "forward_grad", None)
    if forward is None:
        return Evidence()
    result = trial.step("forward_grad", forward, *trial.natives, **trial.case.keywords)
    outputs = trial.unpacked(result)
    evidence = Evidence()
    for name, native, wanted in zip(trial.names, outputs, trial.expected, strict=True):
        evidence += compare(name, trial.get(native), wanted, when="while recording gradients")
    return evidence
