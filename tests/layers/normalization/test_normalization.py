"""Normalisations: laws seen failing, the state after a call, and what eval and train mode are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import brute_force.normalization.batch_and_layer as brute_force
import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import repeat, state, values
from conformance.checks.trial import Trial
from conformance.laws.normalization import batch_and_layer as laws
from conformance.layers import CATALOGUE
from conformance.matching.facts import Facts
from conformance.model.case import Call, Case
from conformance.model.failure import Failure

BATCH = ("BatchNorm2d", "functional.batch_norm")
LAYER = ("LayerNorm", "functional.layer_norm")


def _trial(backend: Any, case: Case) -> Trial:
    return Trial(backend, CATALOGUE[case.call.layer], case)


@pytest.mark.parametrize("layer", BATCH)
def test_state_after_a_call_agrees_with_brute_force(layer: str) -> None:
    compared = 0
    for case in cases(layer, "float64", 120):
        first = case.inputs[0]
        assert first is not None
        if first.size > 400 or case.labels["regime"] == "large":
            continue
        expected = _trial(torch_backend, case).expected_update.state
        _, brute = brute_force.answer(case)
        assert set(expected) == set(brute)
        for name, oracle in expected.items():
            assert (np.abs(oracle.value - brute[name]) <= oracle.error).all(), (name, case)
            compared += oracle.value.size
    assert compared > 100


class LayerNormOfAllRows(nn.LayerNorm):
    """From 16 rows on the first row's mean is taken for all."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        rows = input.reshape(-1, *self.normalized_shape) if input.numel() else input[:0]
        y = super().forward(input)
        return y + rows[0].mean() if len(rows) >= 16 else y


class LayerNormWithDoubledEps(nn.LayerNorm):
    """Two dimensions are normalised with ε twice."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        eps = self.eps * len(self.normalized_shape)
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, eps)


class LayerNormAddingPositions(nn.LayerNorm):
    """A millionth of each number's place is added."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        y = super().forward(input)
        return y + 1e-4 * torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape)


class LayerNormAddingInput(nn.LayerNorm):
    """A thousandth of the numbers is added."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        return super().forward(input) + 1e-3 * input


def batch_norm_adding_positions(input: Any, *arguments: Any, **keywords: Any) -> Any:
    """A little of each number's place is added."""
    y = functional.batch_norm(input, *arguments, **keywords)
    return y + 1e-3 * torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape)


def batch_norm_without_last_channel(input: Any, *arguments: Any, **keywords: Any) -> Any:
    """From 17 channels on the last one is left as it is."""
    y = functional.batch_norm(input, *arguments, **keywords).clone()
    if y.shape[1] > 16:
        y[:, -1] = input[:, -1]
    return y


def batch_norm_adding_batch_size(input: Any, *arguments: Any, **keywords: Any) -> Any:
    """The number of samples is added."""
    return functional.batch_norm(input, *arguments, **keywords) + 1e-3 * len(input)


def batch_norm_adding_input(input: Any, *arguments: Any, **keywords: Any) -> Any:
    """A thousandth of the numbers is added."""
    return functional.batch_norm(input, *arguments, **keywords) + 1e-3 * input


def batch_norm_adding_squares(input: Any, *arguments: Any, **keywords: Any) -> Any:
    """A thousandth of the squares is added."""
    return functional.batch_norm(input, *arguments, **keywords) + 1e-3 * input.square()


class LazyBatchNormAddingInput(nn.LazyBatchNorm1d):
    """A thousandth of the numbers is added as long as the first call has not been."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        return super().forward(input) + 1e-3 * input

    cls_to_become = None


class SyncBatchNormAddingInput(nn.SyncBatchNorm):
    """A thousandth of the numbers is added."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        return super().forward(input) + 1e-3 * input


FAKES: list[tuple[str, str, Any]] = [
    ("LayerNorm", "rows", LayerNormOfAllRows),
    ("LayerNorm", "flattened", LayerNormWithDoubledEps),
    ("LayerNorm", "permuted", LayerNormAddingPositions),
    ("LayerNorm", "shifted", LayerNormAddingInput),
    ("LayerNorm", "scaled", LayerNormAddingInput),
    ("LayerNorm", "function", LayerNormAddingInput),
    ("functional.batch_norm", "channels", batch_norm_without_last_channel),
    ("functional.batch_norm", "places", batch_norm_adding_positions),
    ("functional.batch_norm", "repeated", batch_norm_adding_batch_size),
    ("functional.batch_norm", "samples", batch_norm_adding_batch_size),
    ("functional.batch_norm", "shifted", batch_norm_adding_input),
    ("functional.batch_norm", "scaled", batch_norm_adding_input),
    ("functional.batch_norm", "function", batch_norm_adding_input),
    ("functional.batch_norm", "twin", batch_norm_adding_input),
    ("functional.batch_norm", "affine", batch_norm_adding_squares),
    ("LazyBatchNorm1d", "lazy", LazyBatchNormAddingInput),
    ("SyncBatchNorm", "alone", SyncBatchNormAddingInput),
]


@pytest.mark.parametrize(("layer", "name", "fake"), FAKES, ids=lambda x: str(x)[:24])
def test_every_law_is_seen_failing(layer: str, name: str, fake: Any) -> None:
    bare_name = layer.rpartition(".")[2]
    family = [spec.name for spec in CATALOGUE.values() if spec.family == "normalization"]
    bare_names = [x.removeprefix("functional.") for x in family]
    spaces = {
        "nn": SimpleNamespace(**{x: getattr(nn, x) for x in bare_names if hasattr(nn, x)}),
        "functional": SimpleNamespace(
            **{x: getattr(functional, x) for x in bare_names if hasattr(functional, x)}
        ),
    }
    setattr(spaces["functional" if "." in layer else "nn"], bare_name, fake)
    _, findings = law_findings(ModuleBackend("fake", **spaces), layer, name, 60)
    assert findings
    assert all(f"law {name!r}" in message for message in findings)
    compared, findings = law_findings(torch_backend, layer, name, 60)
    assert compared >= 5
    assert not findings


class CountsTwice(nn.BatchNorm2d):
    """Every call from the second on counts twice."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        y = super().forward(input)
        if getattr(self, "called", False) and self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
        self.called = True
        return y


class ForgetsTrainMode(nn.BatchNorm2d):
    """After train mode eval mode still takes the batch's statistics."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        self.seen = getattr(self, "seen", False) or self.training
        if not self.seen or self.training or input.numel() == input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(
            input, None, None, self.weight, self.bias, training=True, eps=self.eps
        )


@pytest.mark.parametrize(
    ("check", "fake", "said"),
    [
        (repeat.check, CountsTwice, "num_batches_tracked after the call"),
        (state.check, ForgetsTrainMode, "in eval mode after train mode"),
    ],
)
def test_a_second_call_is_looked_at(check: Callable[..., Any], fake: Any, said: str) -> None:
    backend = ModuleBackend("fake", nn=SimpleNamespace(BatchNorm2d=fake))
    messages = []
    for case in cases("BatchNorm2d", "float32", 40):
        try:
            check(_trial(backend, case))
        except Failure as failure:
            messages.append(str(failure))
    assert messages
    assert all(said in message for message in messages)


def test_a_case_is_not_tried_in_a_mode_that_refuses_it() -> None:
    eval_case = next(
        case
        for case in cases("BatchNorm2d", "float32", 200)
        if not CATALOGUE["BatchNorm2d"].traits.valid_in_train_mode(case)
    )
    state.check(_trial(torch_backend, eval_case))
    training_case = replace(eval_case, call=replace(eval_case.call, training=True))
    with pytest.raises(Failure, match="more than 1 value per channel"):
        values.check(_trial(torch_backend, training_case))


def test_batch_statistics_are_a_fact() -> None:
    pairs = {
        (layer, Facts(case).get("batch_statistics"))
        for layer in BATCH
        for case in cases(layer, "float32", 60)
    }
    assert pairs == {(layer, fact) for layer in BATCH for fact in (True, False)}
    assert all(Facts(cases(layer)[0]).get("batch_statistics") is None for layer in LAYER)


def test_numbers_that_a_power_of_two_takes_out_of_the_format_are_not_scaled() -> None:
    small = np.full((2, 2), 2.0**-1074)
    call = Call("functional.layer_norm", {"normalized_shape": [2]}, {}, "float64", "cpu")
    trial = _trial(torch_backend, Case(call, (small, None, None)))
    claims = [list(laws.scaled.claims(trial, np.random.default_rng(k))) for k in range(20)]
    assert 0 < sum(map(len, claims)) < 20  # times 1/2 they are 0; times 2, 4 and 8 they are not
