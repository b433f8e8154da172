"""`repeat`: a call leaves nothing behind: no stale cache, no overwritten input, no drift.

On the CPU, the very same call on the same layer must give the same bits, because a sum of the same
shape is taken in the same order each time. Kernels of other devices may add atomically, and a call
of another shape may compile another kernel. In these cases the oracle's bound applies instead.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checks import values
from conformance.checks.related_cases import (
    Arrays,
    load,
    of_another_form,
    sibling,
    state_of,
    updates,
    varied_inputs,
    with_other_weights,
)
from conformance.checks.trial import Evidence, Trial
from conformance.model.case import Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding, differs
from conformance.model.proof import Proof, unlike


class Tally:
    """Comparisons that add up to the evidence of a check, and raise `Failure`."""

    def __init__(self) -> None:
        self._facts, self._answers = 0, Evidence()

    @property
    def evidence(self) -> Evidence:
        """All comparisons so far."""
        return self._answers + Evidence(self._facts)

    def count(self, comparisons: int) -> None:
        """Count comparisons of numbers or facts that were right."""
        self._facts += comparisons

    def equal(self, about: Finding, got: Any, wanted: Any) -> None:
        """Require that a fact equals the expected one; NaN equals NaN."""
        both_nan = got != got and wanted != wanted
        if got != wanted and not both_nan:
            raise Failure(replace(about, got=repr(got), wanted=repr(wanted)))
        self.count(1)

    def same(self, what: str, got: Arrays, wanted: Arrays) -> None:
        """Require arrays of the same names, shapes and bits; any NaN equals any NaN."""
        self.equal(Finding("names", "names", during=what), list(got), list(wanted))
        for name, array in wanted.items():
            again = got[name]
            self.equal(Finding("shape", name, during=what), again.shape, array.shape)
            alike = (again == array) & (np.signbit(again.real) == np.signbit(array.real))
            wrong = ~(alike | (np.isnan(again) & np.isnan(array)))
            if wrong.any():
                at = tuple(map(int, np.unravel_index(int(np.argmax(wrong)), array.shape)))
                pair = differs("bits", name, repr(again[at].item()), repr(array[at].item()))
                count, size = int(wrong.sum()), array.size
                found = replace(pair, during=what, where=at, wrong=count, of=size)
                raise Failure(found, unlike(again, array, at, None))
            self.count(array.size)

    def within(
        self,
        what: str,
        trial: Trial,
        like: Trial | None = None,
        text: str | None = None,
        *,
        drawn: bool = False,
        larger: bool = False,
    ) -> None:
        """Require that a trial's outputs are within the oracle's bounds, then drop them.

        Args:
            what: the situation, for the message.
            like: a trial with the same expected outputs, which saves the oracle's work; ignored if
                the call changes the layer's state, which then differs each time.
            text: the trial's call, where it differs from the case's.
            drawn: the layer drew the state itself.
            larger: the trial is that of the enlarged case (`related_cases.larger`).
        """
        if like is not None and not updates(trial):
            trial.expected = like.expected
        try:
            self._answers += values.whole(trial)
        except Failure as failure:
            lines = [] if text is None else [text]
            proof = _after_calls(failure, trial, drawn=drawn)
            finding = failure.finding.met(what).within(*lines)
            finding = replace(finding, drawn=drawn, larger=larger)
            raise Failure(finding, proof) from failure
        trial.forget()

    def changed(self, what: str, trial: Trial) -> None:
        """Require that the state after a trial's call is within the oracle's bounds."""
        try:
            self._answers += values.changed(trial)
        except Failure as failure:
            raise Failure(failure.finding.met(what), _after_calls(failure, trial)) from failure


def _after_calls(failure: Failure, trial: Trial, *, drawn: bool = False) -> Proof | None:
    """The proof, with the state before the call if that state was drawn or changed."""
    state = trial.case.call.state
    if failure.proof is None or not state or not (drawn or updates(trial)):
        return failure.proof
    return replace(failure.proof, state=state)


def check(trial: Trial) -> Evidence:
    """Call repeatedly, with other calls in between, and check all that a call must not change.

    Raises:
        Failure: if an answer changes or belongs to another call, or something was overwritten.
    """
    tally, layer = Tally(), trial.layer
    guard = _Guard(trial, tally)
    first = _Answer(trial, tally, sibling(trial, layer, keywords=guard.keywords), trial.natives)
    guard.untouched("after a call")
    first.again("the same call again")
    name, inputs = varied_inputs(trial)
    varied = sibling(trial, layer, inputs=inputs)
    tally.within(f"with another {name}", varied)
    first.kept(f"after a call with another {name}")
    first.again(f"again after a call with another {name}")
    weighted = with_other_weights(trial)
    if trial.case.call.state:
        tally.within("another layer's answer", weighted)
        first.again("again after a call of another layer")
    guard.untouched("after several calls")
    form = of_another_form(trial, varied)
    del varied  # its expected outputs may be large
    if form is not None:
        other, larger = form
        tally.within("then a call of another form", other, text=other.text(), larger=larger)
        first.near("again after a call of another form")
        guard.untouched("after a call of another form")
    tally.within("built anew", sibling(trial), like=trial)
    _updated(trial, tally)
    _recorded(trial, tally)
    guard.untouched("after calls that record gradients")
    if trial.case.call.state and hasattr(layer, "load"):
        for loaded in (weighted, trial):
            load(trial, layer, loaded.case.call.state)
            tally.within("after load of other weights", sibling(trial, layer), like=loaded)
    return tally.evidence


def _updated(trial: Trial, tally: Tally) -> None:
    """Check that a layer which changes its state continues from the state of the last call."""
    if not trial.case.call.state or not trial.row.traits.updates(trial.case.call):
        return
    now = state_of(trial, trial.layer)
    if now is not None:
        names = Finding("names", "names in state()", "after calls")
        tally.equal(names, sorted(now), sorted(trial.case.call.state))
        call = sibling(trial, trial.layer, state=now)
        tally.within("with the state of the call before", call)
        tally.changed("with the state of the call before", call)


class _Answer:
    """The first answer, with which later ones are compared."""

    def __init__(self, trial: Trial, tally: Tally, call: Trial, natives: tuple[Any, ...]) -> None:
        call.natives = natives
        self._trial, self._tally, self._call = trial, tally, call
        call_ = trial.case.call
        same = not (trial.row.randomness.used(call_) or updates(trial))
        self._exact = call_.device == "cpu" and same
        self._arrays = dict(zip(call.names, call.arrays, strict=True))
        self._held: list[tuple[Any, ...]] = [call.outputs]

    def _repeated(self) -> Trial:
        once_more = sibling(self._call, self._call.layer)
        once_more.natives = _given(self._trial, self._call.natives)
        return once_more

    def again(self, what: str) -> None:
        """Repeat the call and require the same bits, or bounds where bits may differ."""
        if not self._exact:
            self.near(what)
            return
        call = self._repeated()
        self._tally.same(what, dict(zip(call.names, call.arrays, strict=True)), self._arrays)
        # Alive until `kept`: an implementation may reuse a buffer once nobody refers to it.
        self._held.append(call.outputs)

    def near(self, what: str) -> None:
        """Repeat the call and require an answer within the oracle's bounds."""
        self._tally.within(what, self._repeated(), like=self._trial)

    def kept(self, what: str) -> None:
        """Require that tensors returned by earlier calls still hold their first values."""
        for outputs in self._held:
            held = (self._trial.get(native) for native in outputs)
            self._tally.same(
                f"first outputs {what}", dict(zip(self._arrays, held, strict=True)), self._arrays
            )
        self._held = [self._call.outputs]


def _given(trial: Trial, natives: tuple[Any, ...]) -> tuple[Any, ...]:
    """The natives for a repetition of the call: new ones for inputs that it writes into."""
    if not updates(trial):
        return natives
    anew = trial.other(trial.case)
    anew.layer = trial.layer
    named = zip(trial.row.signature.inputs, natives, anew.natives, strict=False)
    return tuple(fresh if place.updated else native for place, native, fresh in named)


class _Guard:
    """Copies of what no call may change: inputs, state and keywords."""

    def __init__(self, trial: Trial, tally: Tally) -> None:
        self._trial, self._tally = trial, tally
        self.keywords = deepcopy(dict(trial.case.keywords))
        self._inputs, self._state = self._read(), state_of(trial, trial.layer)

    def _read(self) -> dict[str, np.ndarray]:
        row = self._trial.row
        named = zip(row.signature.inputs, self._trial.natives, strict=False)
        return {
            place.name: self._trial.get(x)
            for place, x in named
            if x is not None and not (place.updated and updates(self._trial))
        }

    def untouched(self, when: str) -> None:
        """Require that everything is as it was before the first call."""
        self._tally.same(f"inputs {when}", self._read(), self._inputs)
        call = self._trial.case.call
        state = state_of(self._trial, self._trial.layer)
        if self._state and state is not None and not self._trial.row.traits.updates(call):
            self._tally.same(f"state {when}", state, self._state)
        if self.keywords:
            about = Finding("attribute", "keywords", when)
            self._tally.equal(about, self.keywords, dict(self._trial.case.keywords))


def _recorded(trial: Trial, tally: Tally) -> None:
    """Check the call twice while gradients are recorded."""
    layer = trial.layer
    real = any(x is not None and x.dtype.kind in "fc" for x in trial.case.inputs)
    if not hasattr(layer, "forward_grad") or not real:
        return
    for _ in range(2):
        call = sibling(trial, layer)
        call.natives = _given(trial, trial.natives)
        try:
            result = trial.step(
                "forward_grad", layer.forward_grad, *call.natives, **call.case.keywords
            )
        except Unsupported:
            return
        call.outputs = call.unpacked(result)
        tally.within("with gradients recorded", call, like=trial)
