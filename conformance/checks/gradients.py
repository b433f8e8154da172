"""`gradients`: vector-Jacobian products for every input and every parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from conformance.checks import cotangents
from conformance.checks.answers import Expected, ExpectedGradients
from conformance.checks.related_cases import ON_OWN_WEIGHT, case_on_own_weight, updates_state
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare, largest_error
from conformance.matching.facts import operands_differentiated_alone
from conformance.model.case import NotOffered, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import count_mismatch, fact_mismatch


def check(trial: Trial) -> Evidence:
    """Compare vector-Jacobian products of two calls, and outputs while recording, with the oracle.

    Raises:
        Failure: if a gradient is missing, unexpected, of the wrong shape, or beyond its bound. Also
            if a second call accumulates, if backward passes do not add up, or if outputs are wrong
            while gradients are recorded.
        Unsupported: if the backend offers no gradients.
    """
    if getattr(trial.layer, "vjp", None) is None:
        raise NotOffered("gradients not offered")
    expected = cotangents.expected_gradients(trial)
    evidence = Evidence()
    for which_call in ("", "of a second call"):
        subject = _with_original_operands(trial) if which_call else trial
        natives = cotangents.put_cotangents(subject, expected.cotangents)
        evidence += compare_gradients(subject, call_vjp(subject, natives), expected, which_call)
    if (selected := operands_differentiated_alone(trial.case)) and hasattr(trial.layer, "vjp_of"):
        subject = _with_original_operands(trial)
        evidence += compare_selected(
            subject, cotangents.put_cotangents(subject, expected.cotangents), expected, selected
        )
    if trial.spec.lazy and hasattr(trial.layer, "load"):
        # A backend without initial values is for the check `state`, not for this one.
        with suppress(Unsupported):
            evidence += _check_after_first_call(trial, expected)
    evidence += _check_accumulation(trial, expected) + _check_on_own_weight(trial)
    return evidence + _check_recording_forward(trial.with_original_operands())


def _check_accumulation(trial: Trial, expected: ExpectedGradients) -> Evidence:
    """Compare g + g − g, as three backward passes add it up, in every fourth case.

    The second pass goes through the graph that the first one kept, where the documentation allows
    that; the third goes through a new call.
    """
    accumulate, case = getattr(trial.layer, "accumulate", None), trial.case
    changes = updates_state(trial) or trial.spec.randomness.is_used(case.call)
    wanted = (*expected.inputs, *expected.parameters.values())
    if accumulate is None or changes or case.seed % 4 != 1 or all(x is None for x in wanted):
        return Evidence()
    cotangent = cotangents.put_cotangents(trial, expected.cotangents)
    negative = [None if c is None else -c for c in expected.cotangents]
    keeps_graph = trial.spec.traits.keeps_graph(case)
    first_calls = ((cotangent, cotangent),) if keeps_graph else ((cotangent,), (cotangent,))
    calls = (*first_calls, (cotangents.put_cotangents(trial, negative),))
    result = trial.run_step("accumulate", accumulate, trial.natives, calls, **case.keywords)
    return compare_gradients(trial, result, expected.accumulated, "that three passes add up")


def _check_on_own_weight(trial: Trial) -> Evidence:
    """Compare gradients where an input is one of the layer's own parameters."""
    own_case = case_on_own_weight(trial.case)
    if own_case is None:
        return Evidence()
    own = trial.trial_of(own_case)
    own.layer = trial.layer
    expected = cotangents.expected_gradients(own)
    natives = cotangents.put_cotangents(own, expected.cotangents)
    try:
        return compare_gradients(own, call_vjp(own, natives), expected)
    except Failure as failure:
        finding = failure.finding.in_part(ON_OWN_WEIGHT).in_context(own.text())
        raise Failure(finding) from failure


def call_vjp(trial: Trial, natives: Sequence[Any]) -> Any:
    """Call `vjp` on the case's inputs; `natives` are the cotangents."""
    vjp = trial.layer.vjp  # type: ignore[attr-defined]
    return trial.run_step("vjp", vjp, trial.natives, natives, **trial.case.keywords)


def compare_selected(
    trial: Trial, natives: Sequence[Any], expected: ExpectedGradients, selected: frozenset[str]
) -> Evidence:
    """Compare the gradients of the inputs and parameters in `selected`, requested by `vjp_of`.

    `natives` are the cotangents.

    Raises:
        Failure: as `compare_gradients`; or if there is a gradient that was not requested.
    """
    names = tuple(sorted(selected))
    try:
        vjp_of = trial.layer.vjp_of  # type: ignore[attr-defined]
        result = trial.run_step(
            "vjp_of", vjp_of, names, trial.natives, natives, **trial.case.keywords
        )
        return compare_gradients(
            trial, result, expected.only(selected, trial.spec.signature.input_names)
        )
    except Failure as failure:
        context = f"where only the gradient of {' and '.join(names)} is asked for"
        raise Failure(failure.finding.in_context(context)) from failure


def _with_original_operands(trial: Trial) -> Trial:
    """Return a trial of the same layer with state and inputs as before its call."""
    if not trial.spec.traits.updates_state(trial.case.call):
        return trial
    state = {name: array.copy() for name, array in trial.case.call.state.items()}
    if state and hasattr(trial.layer, "load"):
        trial.run_step("load", trial.layer.load, state, dict(trial.case.call.layouts))
    return trial.on_same_layer()


def _check_after_first_call(trial: Trial, expected: ExpectedGradients) -> Evidence:
    """Check the gradients of a lazy layer whose parameters were made by its first call."""
    call = trial.case.call
    fresh = trial.trial_of(replace(trial.case, call=replace(call, state={}, layouts={})))
    layer = fresh.layer
    trial.run_step("the first call", layer, *fresh.natives, **fresh.case.keywords)
    state = {name: array.copy() for name, array in call.state.items()}
    trial.run_step("load", layer.load, state, {})  # type: ignore[attr-defined]
    result = call_vjp(fresh, cotangents.put_cotangents(fresh, expected.cotangents))
    return compare_gradients(fresh, result, expected, "after a first call without a state")


def compare_gradients(
    trial: Trial, result: Any, expected_gradients: ExpectedGradients, which_call: str = ""
) -> Evidence:
    """Compare the result of `vjp` with the expected gradients.

    Args:
        result: a tuple for the inputs, and a mapping for the parameters.
        which_call: which of several calls it was, for the message.

    Raises:
        Failure: if a gradient is missing, unexpected, of the wrong shape, or beyond its bound.
    """
    got_inputs, got_parameters = result
    _require_names(got_parameters, expected_gradients.parameters)
    if len(got_inputs) != len(expected_gradients.inputs):
        raise Failure(
            count_mismatch("input gradients", len(got_inputs), len(expected_gradients.inputs))
        )
    pairs = [
        (f"gradient of {name}", got, expected)
        for name, got, expected in zip(
            trial.spec.signature.input_names, got_inputs, expected_gradients.inputs, strict=False
        )
    ]
    pairs += [
        (f"gradient of {name}", got_parameters[name], expected)
        for name, expected in expected_gradients.parameters.items()
    ]
    evidence = Evidence()
    for name, got, expected in pairs:
        evidence += _compare_gradient(trial, name, got, expected, which_call)
    return evidence


def _require_names(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if set(got) != set(wanted):
        raise Failure(fact_mismatch("names", "parameter gradients", sorted(got), sorted(wanted)))


def _compare_gradient(
    trial: Trial, name: str, got: Any, expected: Expected | None, which_call: str
) -> Evidence:
    if expected is None:
        if got is not None:
            none = "None: it has no gradient"
            raise Failure(fact_mismatch("presence", name, "an array", none, when=which_call))
        return Evidence(1)
    if got is None:
        array = f"an array of shape {expected.shape}"
        raise Failure(fact_mismatch("presence", name, "None", array, when=which_call))
    numbers = trial.get(got)
    evidence = compare(name, numbers, expected, when=which_call, kind="gradient")
    return evidence + largest_error(trial, name, numbers, expected)


def _check_recording_forward(trial: Trial) -> Evidence:
    """Compare the outputs computed while gradients are recorded, if the backend offers that."""
    forward = getattr(trial.layer, "forward_grad", None)
    if forward is None:
        return Evidence()
    result = trial.run_step("forward_grad", forward, *trial.natives, **trial.case.keywords)
    outputs = trial.unpack_outputs(result)
    evidence = Evidence()
    for name, native, wanted in zip(trial.names, outputs, trial.expected, strict=True):
        evidence += compare(name, trial.get(native), wanted, when="while recording gradients")
    return evidence
