"""`module`: copies of a module are that module; states, modes and hooks are as documented."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from conformance.backends.guard import GuardedLayer
from conformance.checks import cotangents as drawn_cotangents
from conformance.checks.gradients import call_vjp, compare_gradients
from conformance.checks.related_cases import (
    load_state,
    read_state,
    updates_state,
    with_other_weights,
)
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare_outputs
from conformance.model.case import NotOffered, Unsupported
from conformance.model.checks import MAIN_DTYPE
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import fact_mismatch

WHOLE_COPIES = ("deepcopy", "pickle", "double() and back")
"""How a module is copied as it is, with its attributes."""
COPIES = (
    *WHOLE_COPIES,
    "torch.save of its state",
    "to_empty from device meta",
    "load_state_dict(assign=True) from device meta",
)
"""The others are made anew, and given the state; `docs/contract.md` says what each is."""
MANY_TENSORS = 12
"""A module with more tensors is made of others: each fact costs as much as several of theirs."""
FACTS_ONE_IN = 3
"""Of such a module, and in other dtypes than the main one, so few cases ask for facts."""


def check(trial: Trial) -> Evidence:
    """Compare a copy with the oracle, copies' attributes, and facts with the documentation.

    Raises:
        Failure: if a copy has another state or answer, shares numbers with its original, or if a
            fact is not as documented.
        Unsupported: if the backend's layers are no modules.
        Inapplicable: where the call draws random numbers.
    """
    if getattr(trial.layer, "copy_layer", None) is None:
        raise NotOffered("copies of modules not offered")
    if trial.spec.randomness.is_used(trial.case.call):
        raise Inapplicable("random numbers")
    if trial.spec.lazy is not None:
        trial.outputs  # noqa: B018 - its first call makes the parameters
        load_state(trial, trial.layer, trial.case.call.state)
    how = COPIES[trial.case.seed // 2 % len(COPIES)]
    return _compare_copy(trial, how) + _compare_facts(trial) + _compare_attributes(trial)


def _compare_attributes(trial: Trial) -> Evidence:
    """Compare what a user can read of each copy with what the original shows."""
    attributes = getattr(trial.layer, "attributes", None)
    wanted = {} if attributes is None else trial.run_step("attributes", attributes)
    evidence = Evidence()
    for how in WHOLE_COPIES if wanted else ():
        with suppress(Unsupported):
            copied = _copy(trial, how)
            got = trial.run_step("attributes", copied.attributes)
            if repr(got) != repr(wanted):  # by text, since NaN differs from itself
                context = f"attributes of a copy by {how}"
                raise Failure(fact_mismatch("attribute", context, got, wanted))
            evidence += Evidence(len(wanted))
    return evidence


def _copy(trial: Trial, how: str) -> GuardedLayer:
    copy_layer = trial.layer.copy_layer  # type: ignore[attr-defined]
    return GuardedLayer(trial.run_step("copy_layer", copy_layer, how))


def _compare_facts(trial: Trial) -> Evidence:
    call = trial.case.call
    is_sampled = len(call.state) > MANY_TENSORS or call.dtype != MAIN_DTYPE
    if is_sampled and trial.case.seed % FACTS_ONE_IN:
        return Evidence()
    facts = trial.run_step(
        "module_facts",
        trial.layer.module_facts,  # type: ignore[attr-defined]
        trial.natives,
        **trial.case.keywords,
    )
    wrong = [(name, *pair) for name, pair in facts.items() if pair[0] != pair[1]]
    if wrong:
        others = [f"  also: {name} {got}, wanted {wanted}" for name, got, wanted in wrong[1:4]]
        raise Failure(fact_mismatch("attribute", *wrong[0]).noting(*others))
    return Evidence(len(facts))


def _compare_copy(trial: Trial, how: str) -> Evidence:
    """Compare a copy's state, outputs and gradients; then give it other weights."""
    copied, context = trial.trial_of(trial.case), f"of a copy by {how}"
    copied.layer = _copy(trial, how)
    try:
        evidence = _compare_state(copied) + compare_outputs(copied)
        if not updates_state(trial):
            expected = drawn_cotangents.expected_gradients(copied)
            natives = drawn_cotangents.put_cotangents(copied, expected.cotangents)
            evidence += compare_gradients(copied, call_vjp(copied, natives), expected)
    except Failure as failure:
        raise Failure(failure.finding.in_part(context), failure.proof) from failure
    return evidence + _compare_apart(trial, copied, how)


def _compare_state(copied: Trial) -> Evidence:
    state = read_state(copied, copied.layer) or {}
    wanted = copied.case.call.state
    if wanted and list(state) != list(wanted):
        raise Failure(fact_mismatch("names", "state()", list(state), list(wanted)))
    for name, array in wanted.items():
        if not np.array_equal(state[name], array, equal_nan=array.dtype.kind in "fc"):
            raise Failure(fact_mismatch("attribute", name, state[name].tolist(), array.tolist()))
    return Evidence(len(wanted))


def _compare_apart(trial: Trial, copied: Trial, how: str) -> Evidence:
    """After the copy got other weights, it answers by them, and the original by its own."""
    if not trial.case.call.state or updates_state(trial):
        return Evidence()
    changed = with_other_weights(trial, copied.layer)
    load_state(trial, copied.layer, changed.case.call.state)
    try:
        evidence = compare_outputs(changed)
    except Failure as failure:
        context = f"of a copy by {how} with other weights"
        raise Failure(failure.finding.in_part(context), failure.proof) from failure
    again = trial.on_same_layer()
    try:
        return evidence + compare_outputs(again)
    except Failure as failure:
        context = f"after a copy by {how} got other weights"
        raise Failure(failure.finding.in_part(context), failure.proof) from failure
