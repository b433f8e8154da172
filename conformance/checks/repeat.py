"""`repeat`: a call leaves nothing behind: no stale cache, no overwritten input, no drift.

On the CPU, the same call on the same layer must give the same bits: a sum of the same shape is
taken in the same order each time. Kernels of other devices may add atomically, and a call of
another shape may compile another kernel. In these cases the oracle's bound applies instead.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checks import values
from conformance.checks.related_cases import (
    ON_OWN_WEIGHT,
    Arrays,
    another_form,
    case_on_own_weight,
    load_state,
    read_state,
    sibling,
    updates_state,
    varied_inputs,
    with_other_weights,
)
from conformance.checks.trial import Evidence, Trial
from conformance.model.case import Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding, fact_mismatch
from conformance.model.proof import Proof, difference_proof


class Tally:
    """Comparisons that add up to the evidence of a check, and raise `Failure`."""

    def __init__(self) -> None:
        self._facts, self._answers = 0, Evidence()

    @property
    def evidence(self) -> Evidence:
        """All comparisons so far."""
        return self._answers + Evidence(self._facts)

    def add(self, comparisons: int) -> None:
        """Count comparisons of numbers or facts that were right."""
        self._facts += comparisons

    def require_equal(self, finding: Finding, got: Any, wanted: Any) -> None:
        """Require that a fact equals the expected one; NaN equals NaN."""
        both_nan = got != got and wanted != wanted
        if got != wanted and not both_nan:
            raise Failure(replace(finding, got=repr(got), wanted=repr(wanted)))
        self.add(1)

    def require_same_bits(self, situation: str, got: Arrays, wanted: Arrays) -> None:
        """Require arrays of the same names, shapes and bits; any NaN equals any NaN."""
        self.require_equal(Finding("names", "names", during=situation), list(got), list(wanted))
        for name, array in wanted.items():
            other = got[name]
            self.require_equal(Finding("shape", name, during=situation), other.shape, array.shape)
            equal = (other == array) & (np.signbit(other.real) == np.signbit(array.real))
            wrong = ~(equal | (np.isnan(other) & np.isnan(array)))
            if wrong.any():
                index = tuple(map(int, np.unravel_index(int(np.argmax(wrong)), array.shape)))
                difference = fact_mismatch(
                    "bits", name, repr(other[index].item()), repr(array[index].item())
                )
                count, size = int(wrong.sum()), array.size
                finding = replace(difference, during=situation, where=index, wrong=count, of=size)
                raise Failure(finding, difference_proof(other, array, index, None))
            self.add(array.size)

    def require_within_bounds(
        self,
        situation: str,
        trial: Trial,
        same_outputs_as: Trial | None = None,
        text: str | None = None,
        *,
        drawn: bool = False,
        larger: bool = False,
    ) -> None:
        """Require that a trial's outputs are within the oracle's bounds, then drop them.

        Args:
            situation: how the call differs from the first, for the message.
            same_outputs_as: a trial with the same expected outputs, which saves the oracle's work;
                ignored if the call changes the layer's state, which then differs each time.
            text: the trial's call, where it differs from the case's.
            drawn: the layer drew the state itself.
            larger: the trial is that of the enlarged case (`related_cases.enlarge_case`).
        """
        if same_outputs_as is not None and not updates_state(trial):
            trial.expected = same_outputs_as.expected
        try:
            self._answers += values.compare_outputs(trial)
        except Failure as failure:
            lines = [] if text is None else [text]
            proof = _proof_with_state(failure, trial, drawn=drawn)
            finding = failure.finding.in_part(situation).in_context(*lines)
            finding = replace(finding, drawn=drawn, larger=larger)
            raise Failure(finding, proof) from failure
        trial.drop_outputs()

    def require_updated_state(self, situation: str, trial: Trial) -> None:
        """Require that the state after a trial's call is within the oracle's bounds."""
        try:
            self._answers += values.compare_state(trial)
        except Failure as failure:
            raise Failure(
                failure.finding.in_part(situation), _proof_with_state(failure, trial)
            ) from failure


def _proof_with_state(failure: Failure, trial: Trial, *, drawn: bool = False) -> Proof | None:
    """The proof, with the state before the call if that state was drawn or changed."""
    state = trial.case.call.state
    if failure.proof is None or not state or not (drawn or updates_state(trial)):
        return failure.proof
    return replace(failure.proof, state=state)


def check(trial: Trial) -> Evidence:
    """Call repeatedly, with other calls in between, and check all that a call must not change.

    Raises:
        Failure: if an answer changes or belongs to another call, or something was overwritten.
    """
    tally, layer = Tally(), trial.layer
    guard = _Guard(trial, tally)
    first_answer = _FirstAnswer(
        trial, tally, sibling(trial, layer, keywords=guard.keywords), trial.natives
    )
    guard.require_unchanged("after a call")
    first_answer.require_same("the same call again")
    name, inputs = varied_inputs(trial)
    varied = sibling(trial, layer, inputs=inputs)
    tally.require_within_bounds(f"with another {name}", varied)
    first_answer.require_outputs_kept(f"after a call with another {name}")
    first_answer.require_same(f"again after a call with another {name}")
    weighted = with_other_weights(trial)
    if trial.case.call.state:
        tally.require_within_bounds("another layer's answer", weighted)
        first_answer.require_same("again after a call of another layer")
    guard.require_unchanged("after several calls")
    form = another_form(trial, varied)
    del varied  # its expected outputs may be large
    if form is not None:
        form_trial, larger = form
        tally.require_within_bounds(
            "then a call of another form", form_trial, text=form_trial.text(), larger=larger
        )
        first_answer.require_within_bounds("again after a call of another form")
        guard.require_unchanged("after a call of another form")
    own_case = case_on_own_weight(trial.case)
    if own_case is not None:
        own = trial.trial_of(own_case)
        own.layer = layer
        tally.require_within_bounds(ON_OWN_WEIGHT, own, text=own.text())
        guard.require_unchanged(f"after a call {ON_OWN_WEIGHT}")
    tally.require_within_bounds("built anew", sibling(trial), same_outputs_as=trial)
    _check_state_carried_over(trial, tally)
    _check_while_recording(trial, tally)
    guard.require_unchanged("after calls that record gradients")
    if trial.case.call.state and hasattr(layer, "load"):
        for loaded in (weighted, trial):
            load_state(trial, layer, loaded.case.call.state)
            tally.require_within_bounds(
                "after load of other weights", sibling(trial, layer), same_outputs_as=loaded
            )
    return tally.evidence


def _check_state_carried_over(trial: Trial, tally: Tally) -> None:
    """Check that a layer which changes its state continues from the state of the last call."""
    if not trial.case.call.state or not trial.spec.traits.updates_state(trial.case.call):
        return
    current_state = read_state(trial, trial.layer)
    if current_state is not None:
        finding = Finding("names", "names in state()", "after calls")
        tally.require_equal(finding, sorted(current_state), sorted(trial.case.call.state))
        call = sibling(trial, trial.layer, state=current_state)
        tally.require_within_bounds("with the state of the call before", call)
        tally.require_updated_state("with the state of the call before", call)


class _FirstAnswer:
    """The first answer, with which later ones are compared."""

    def __init__(self, trial: Trial, tally: Tally, call: Trial, natives: tuple[Any, ...]) -> None:
        call.natives = natives
        self._trial, self._tally, self._call = trial, tally, call
        case_call = trial.case.call
        repeatable = not (trial.spec.randomness.is_used(case_call) or updates_state(trial))
        self._same_bits = case_call.device == "cpu" and repeatable
        self._arrays = dict(zip(call.names, call.arrays, strict=True))
        self._kept_outputs: list[tuple[Any, ...]] = [call.outputs]

    def _repeat_call(self) -> Trial:
        repetition = sibling(self._call, self._call.layer)
        repetition.natives = _natives_for_repetition(self._trial, self._call.natives)
        return repetition

    def require_same(self, situation: str) -> None:
        """Repeat the call and require the same bits, or bounds where bits may differ."""
        if not self._same_bits:
            self.require_within_bounds(situation)
            return
        call = self._repeat_call()
        self._tally.require_same_bits(
            situation, dict(zip(call.names, call.arrays, strict=True)), self._arrays
        )
        # Kept alive until then: an implementation may reuse a buffer once nobody refers to it.
        self._kept_outputs.append(call.outputs)

    def require_within_bounds(self, situation: str) -> None:
        """Repeat the call and require an answer within the oracle's bounds."""
        self._tally.require_within_bounds(
            situation, self._repeat_call(), same_outputs_as=self._trial
        )

    def require_outputs_kept(self, situation: str) -> None:
        """Require that tensors returned by earlier calls still hold their first values."""
        for outputs in self._kept_outputs:
            arrays = (self._trial.get(native) for native in outputs)
            self._tally.require_same_bits(
                f"first outputs {situation}",
                dict(zip(self._arrays, arrays, strict=True)),
                self._arrays,
            )
        self._kept_outputs = [self._call.outputs]


def _natives_for_repetition(trial: Trial, natives: tuple[Any, ...]) -> tuple[Any, ...]:
    """The natives for a repetition of the call: new ones for inputs that it writes into."""
    if not updates_state(trial):
        return natives
    fresh_trial = trial.trial_of(trial.case)
    fresh_trial.layer = trial.layer
    triples = zip(trial.spec.signature.inputs, natives, fresh_trial.natives, strict=False)
    return tuple(fresh if input.updated else native for input, native, fresh in triples)


class _Guard:
    """Copies of what no call may change: inputs, state and keywords."""

    def __init__(self, trial: Trial, tally: Tally) -> None:
        self._trial, self._tally = trial, tally
        self.keywords = deepcopy(dict(trial.case.keywords))
        self._inputs, self._state = self._read_inputs(), read_state(trial, trial.layer)

    def _read_inputs(self) -> dict[str, np.ndarray]:
        spec = self._trial.spec
        pairs = zip(spec.signature.inputs, self._trial.natives, strict=False)
        return {
            input.name: self._trial.get(x)
            for input, x in pairs
            if x is not None and not (input.updated and updates_state(self._trial))
        }

    def require_unchanged(self, when: str) -> None:
        """Require that everything is as it was before the first call."""
        self._tally.require_same_bits(f"inputs {when}", self._read_inputs(), self._inputs)
        call = self._trial.case.call
        state = read_state(self._trial, self._trial.layer)
        if self._state and state is not None and not self._trial.spec.traits.updates_state(call):
            self._tally.require_same_bits(f"state {when}", state, self._state)
        if self.keywords:
            finding = Finding("attribute", "keywords", when)
            self._tally.require_equal(finding, self.keywords, dict(self._trial.case.keywords))


def _check_while_recording(trial: Trial, tally: Tally) -> None:
    """Check the call twice while gradients are recorded."""
    layer = trial.layer
    has_floats = any(x is not None and x.dtype.kind in "fc" for x in trial.case.inputs)
    if not hasattr(layer, "forward_grad") or not has_floats:
        return
    for _ in range(2):
        call = sibling(trial, layer)
        call.natives = _natives_for_repetition(trial, trial.natives)
        try:
            result = trial.run_step(
                "forward_grad", layer.forward_grad, *call.natives, **call.case.keywords
            )
        except Unsupported:
            return
        call.outputs = call.unpack_outputs(result)
        tally.require_within_bounds("with gradients recorded", call, same_outputs_as=trial)
