"""`repeat` sees what a call leaves behind, whatever it answers, and torch leaves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from support import LAYERS, cases, first_failure
from torch import nn

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import CHECKS, related_cases
from conformance.checks.trial import Trial
from conformance.items.planning import Item
from conformance.known.entry import shipped_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.case import Call, Case
from conformance.run.engine import Engine

BUGS = [bug for bug in planted.BUGS if bug.check == "repeat"]


def _backend(layer: str, implementation: Any) -> ModuleBackend:
    return ModuleBackend("bug", **replacement_namespaces(layer, implementation))


@pytest.mark.parametrize("layer", LAYERS)
def test_torch_passes(layer: str) -> None:
    search = first_failure(torch_backend, layer, "repeat", examples=12)
    assert search.passed, search


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_caught(bug: planted.Bug) -> None:
    backend = _backend(bug.layer, bug.implementation)
    assert first_failure(backend, bug.layer, "repeat", examples=60).failure, bug.story


class _Zeroing(nn.Linear):
    """Zeroes the input after the call."""

    def forward(self, input: Any) -> Any:
        output = super().forward(input)
        if not torch.is_grad_enabled():
            input.zero_()
        return output


class _Decaying(nn.Linear):
    """The weight decays."""

    def forward(self, input: Any) -> Any:
        output = super().forward(input)
        with torch.no_grad():
            self.weight.mul_(0.5)
        return output


class _FirstAnswerAgain(nn.Linear):
    """The answer to a shape is kept by shape."""

    def forward(self, input: Any) -> Any:
        answers = self.__dict__.setdefault("_kept", {})
        return answers.setdefault(input.shape, super().forward(input))


class _SharedWeights(nn.Linear):
    """Weights are packed once for all layers of a shape."""

    _packed: dict[Any, Any] = {}  # noqa: RUF012 - the bug

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._packed = {} if self.weight.numel() == 0 else type(self)._packed

    def forward(self, input: Any) -> Any:
        key = (self.weight.shape, self.bias is None)
        weight = self._packed.setdefault(key, self.weight.detach().clone())
        return nn.functional.linear(input, weight, self.bias)


class _OneBuffer(nn.Linear):
    """Every answer of a shape lands in the same tensor."""

    def forward(self, input: Any) -> Any:
        output = super().forward(input)
        buffers = self.__dict__.setdefault("_buffers_by_shape", {})
        return buffers.setdefault(output.shape, output.detach().clone()).copy_(output)


class _PackedOnce(nn.Linear):
    """The first call packs the weight."""

    def forward(self, input: Any) -> Any:
        if "_kept" not in self.__dict__:
            self.__dict__["_kept"] = self.weight.detach().clone()
        return nn.functional.linear(input, self.__dict__["_kept"], self.bias)


class _DriftWithGradients(nn.Linear):
    """Calls that record gradients change the weight."""

    def forward(self, input: Any) -> Any:
        if torch.is_grad_enabled():
            self.weight.data.neg_()
        return super().forward(input)


@pytest.mark.parametrize(
    ("implementation", "said"),
    [
        (_Zeroing, "inputs after a call: input"),
        (_Decaying, "state after a call: weight"),
        (_FirstAnswerAgain, "with another input"),
        (_OneBuffer, "first outputs after a call with another input"),
        (_PackedOnce, "after load of other weights"),
        (_DriftWithGradients, "with gradients recorded"),
    ],
)
def test_a_bug_that_one_call_does_not_show(implementation: Any, said: str) -> None:
    backend = _backend("Linear", implementation)
    assert said in first_failure(backend, "Linear", "repeat", examples=60).message
    for check in ("shape", "values"):
        search = first_failure(backend, "Linear", check, examples=60)
        assert search.passed, search


def test_weights_shared_between_layers_are_noticed() -> None:
    search = first_failure(_backend("Linear", _SharedWeights), "Linear", "repeat", examples=1)
    assert "another layer's answer" in search.message


def test_keywords_that_a_layer_sorts_are_noticed() -> None:
    class Backend(ModuleBackend):
        def build(self, call: Call) -> Any:
            layer = super().build(call)
            original = layer._forward

            def change_lengths(*inputs: Any, **keywords: Any) -> Any:
                result = original(*inputs, **keywords)
                if "lengths" in keywords:
                    keywords["lengths"].append(keywords["lengths"].pop(0) + 1)
                return result

            layer._forward = change_lengths  # type: ignore[method-assign]
            return layer

    # A call gets its keywords unpacked: the lists in them are the caller's own.
    search = first_failure(Backend("sorting"), "GRU", "repeat", examples=60)
    assert "keywords after" in search.message


@pytest.mark.parametrize(
    "layer", ["RNN", "LSTM", "GRUCell", "Conv1d", "Bilinear", "functional.linear"]
)
def test_the_answer_to_two_batches_is_that_of_each(layer: str) -> None:
    """What `repeat` takes for the oracle's answer is what the oracle says when it is asked."""
    compared = 0
    for case in cases(layer, "float32", 40):
        trial = Trial(torch_backend, CATALOGUE[layer], case)
        varied = related_cases.sibling(trial, inputs=related_cases.varied_inputs(trial)[1])
        form = related_cases.another_form(trial, varied)
        fresh = Trial(torch_backend, CATALOGUE[layer], case)
        _ = fresh.layer
        if form is None or vars(form[0]).keys() == vars(fresh).keys():
            continue  # its expected outputs are not set
        other, wider = form
        assert not wider
        compared += 1
        expected = Trial(torch_backend, CATALOGUE[layer], other.case).expected
        for joined, direct in zip(other.expected, expected, strict=True):
            assert joined.shape == direct.shape
            # Where more rows share one grain less may be exact, nothing is more so.
            assert (joined.error <= direct.error * (1 + 1e-6)).all()
            near = np.abs(joined.value - direct.value) <= 1e-12 * (1 + np.abs(direct.value))
            assert (near | (np.isnan(joined.value) & np.isnan(direct.value))).all()
    assert compared


def test_what_is_known_of_the_larger_size_explains_that_call_alone() -> None:
    """torch's LPPool errs where the last window goes off-bounds, as it does of 3 and not of 2."""
    arguments = {"norm_type": 2, "kernel_size": 2, "ceil_mode": True}
    case = Case(Call("LPPool1d", arguments, {}, "float32", "cpu"), (np.ones((1, 2)),), seed=0)
    larger = related_cases.enlarge_case(case)
    assert larger is not None
    assert larger.inputs[0] is not None
    assert larger.inputs[0].shape == (1, 3)
    entries = [e for e in shipped_entries("torch") if "LPPool" in e.layer and "repeat" in e.check]
    excuses = Excuses(entries, CHECKS["repeat"])
    engine, item = Engine(torch_backend, 1, 0), Item("LPPool1d", "repeat", "float32", "cpu")
    outcome = engine.outcome(item, case)
    failure = outcome.failure
    assert failure is not None
    assert failure.larger
    assert case_text(larger) in failure.context
    assert excuses.find_explanation(case, outcome.message, failure)
    # Of the case itself the same failure is new, whatever the message quotes.
    assert not excuses.find_explanation(case, outcome.message, replace(failure, larger=False))
    assert not excuses.find_explanation(case, outcome.message)
    assert not Excuses(entries).find_explanation(case, outcome.message, failure)
