"""`repeat`: a call leaves nothing behind: no stale cache, no overwritten input, no drift.

The very same call on the same layer is asked for the same bits on the CPU, where a sum of the same
shape is taken in the same order each time; on other devices kernels may add up atomically, so
there, and after a call of another shape, which may have another kernel compiled, the oracle's
bound holds.
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
    """What has been compared so far."""

    def __init__(self) -> None:
        self._facts, self._answers = 0, Evidence()

    @property
    def evidence(self) -> Evidence:
        """All of it."""
        return self._answers + Evidence(self._facts)

    def count(self, comparisons: int) -> None:
        """So many more numbers or facts are as they should be."""
        self._facts += comparisons

    def equal(self, about: Finding, got: Any, wanted: Any) -> None:
        """One fact is as it should be; NaN is no other than NaN."""
        both_nan = got != got and wanted != wanted
        if got != wanted and not both_nan:
            raise Failure(replace(about, got=repr(got), wanted=repr(wanted)))
        self.count(1)

    def same(self, what: str, got: Arrays, wanted: Arrays) -> None:
        """Arrays have the same bits; one NaN is as good as another."""
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
        """A trial's answer is within the oracle's bound, and no longer needed.

        Args:
            what: for the message.
            like: a trial that must give the same, so that the oracle need not work twice; not of a
                call that changes the layer's state, which is another one each time.
            text: the trial's call, where it is another one than the case's.
            drawn: its state is one that the layer drew.
            larger: it is the case of another size (`siblings.larger`).
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
        """What a call that was held against the oracle made of the state is what it should.

        Args:
            what: for the message.
        """
        try:
            self._answers += values.changed(trial)
        except Failure as failure:
            raise Failure(failure.finding.met(what), _after_calls(failure, trial)) from failure


def _after_calls(failure: Failure, trial: Trial, *, drawn: bool = False) -> Proof | None:
    """The proof, with the state that the call found where it had been drawn or changed."""
    state = trial.case.call.state
    if failure.proof is None or not state or not (drawn or updates(trial)):
        return failure.proof
    return replace(failure.proof, state=state)


def check(trial: Trial) -> Evidence:
    """Call again and again, with other calls in between, and look at what a call must not touch.

    Raises:
        Failure: if an answer changes, is another call's, or something was written over.
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
    del varied  # what it was held against may be large
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
    """A layer that changes its state goes on from where the last call left it."""
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
    """The first answer, which later ones are held against."""

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
        """The same call gives the same bits."""
        if not self._exact:
            self.near(what)
            return
        call = self._repeated()
        self._tally.same(what, dict(zip(call.names, call.arrays, strict=True)), self._arrays)
        # Alive until `kept`: a buffer may be the last result's only while somebody has that.
        self._held.append(call.outputs)

    def near(self, what: str) -> None:
        """The same call gives an answer within the oracle's bound."""
        self._tally.within(what, self._repeated(), like=self._trial)

    def kept(self, what: str) -> None:
        """The tensors that earlier calls returned still hold what they held."""
        for outputs in self._held:
            held = (self._trial.get(native) for native in outputs)
            self._tally.same(
                f"first outputs {what}", dict(zip(self._arrays, held, strict=True)), self._arrays
            )
        self._held = [self._call.outputs]


def _given(trial: Trial, natives: tuple[Any, ...]) -> tuple[Any, ...]:
    """The natives of a call to be made again; those that it writes into are put anew."""
    if not updates(trial):
        return natives
    anew = trial.other(trial.case)
    anew.layer = trial.layer
    named = zip(trial.row.signature.inputs, natives, anew.natives, strict=False)
    return tuple(fresh if place.updated else native for place, native, fresh in named)


class _Guard:
    """What no call may touch: inputs, state and keywords."""

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
        """Everything is as it was before the first call."""
        self._tally.same(f"inputs {when}", self._read(), self._inputs)
        call = self._trial.case.call
        state = state_of(self._trial, self._trial.layer)
        if self._state and state is not None and not self._trial.row.traits.updates(call):
            self._tally.same(f"state {when}", state, self._state)
        if self.keywords:
            about = Finding("attribute", "keywords", when)
            self._tally.equal(about, self.keywords, dict(self._trial.case.keywords))


def _recorded(trial: Trial, tally: Tally) -> None:
    """While gradients are recorded the same call gives the same, too."""
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
