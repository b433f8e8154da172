"""Recurrent layers by equality and step by step: the oracle says so, torch obeys, bugs are seen."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import planted
import pytest
import torch
from conformance.strategies.recurrent.exact import FILLERS, exact_regimes
from support import cases, first_failure
from test_oracles import reference

from conformance.arithmetic import activations
from conformance.arithmetic import rounded as rounding
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.arithmetic.saturation import SIGMOID_ONE, SIGMOID_ZERO, TANH_ONE
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import cotangents, steps, values
from conformance.checks.trial import Trial, larger_margin
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Numerics
from conformance.model.failure import Failure
from conformance.run.engine import Engine

RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
EXACT = ("zero", "bits", "rectified", "saturated", "hold")
DTYPES = ("float32", "float64", "bfloat16", "float16")
# Bug → the dtype and the regimes that must show it.
ONLY_EXACT = {
    "gru-state-in-half-after-sixteen-steps": ("float32", {"gentle", "hold"}),
    "rnn-state-in-half-after-sixteen-steps": ("float32", {"gentle"}),
    "rnn-long-relu-weights-jammed": ("bfloat16", {"rectified"}),
    "lstmcell-float16-logits-clamped-at-eleven": ("float16", {"saturated", "hold"}),
    "grucell-single-update-gate-short-of-one": ("float32", {"saturated", "hold"}),
    "lstm-single-cell-state-in-two-halves": ("float32", {"hold"}),
    "gru-gradient-unscaled-by-reciprocal": ("float32", {"zero"}),
    "lstmcell-gradient-unscaled-by-reciprocal": ("float32", {"zero"}),
}


def _trial(case: Case) -> Trial:
    return Trial(torch_backend, CATALOGUE[case.call.layer], case)


def _regimes(layer: str) -> set[str]:
    kind = layer.removesuffix("Cell")
    nonlinearities = ("tanh", "relu") if kind == "RNN" else ("tanh",)
    return {
        regime for nonlinearity in nonlinearities for regime in exact_regimes(kind, nonlinearity)
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", RECURRENT)
def test_every_regime_is_reached_and_its_answers_are_exact(layer: str, dtype: str) -> None:
    counts: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for case in cases(layer, dtype):
        regime = case.labels["regime"]
        counts[regime] += 1
        if regime not in EXACT or counts[regime] > 6:
            continue
        outputs = _trial(case).expected
        # h = o·tanh(c) of an LSTM rounds; its cell state does not.
        cell_only = "LSTM" in layer and regime in ("saturated", "hold")
        for y in outputs[-1:] if cell_only else outputs:
            exact[regime] += int((y.error == 0).sum())
            size[regime] += y.error.size
    assert {regime for regime in EXACT if counts[regime] >= 5} == _regimes(layer)
    for regime in _regimes(layer):
        # A sequence may outgrow a format: float16 loses a state halved 24 times.
        assert exact[regime] >= 0.9 * size[regime] > 0, (regime, exact[regime], size[regime])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", ["RNNCell", "LSTMCell", "GRUCell"])
def test_gradients_are_exact_too(layer: str, dtype: str) -> None:
    exact = 0
    for case in cases(layer, dtype):
        if case.labels["regime"] in ("zero", "rectified"):
            trial = _trial(case)
            inputs, parameters = cotangents.oracle_gradients(
                trial, cotangents.draw_cotangents(trial)
            )
            for gradient in (*inputs, *parameters.values()):
                if gradient is not None:
                    assert not gradient.error.any()
                    exact += gradient.value.size
    assert exact > 500


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_long_sequences_are_drawn(layer: str) -> None:
    for dtype in DTYPES:
        long = [case for case in cases(layer, dtype) if case.labels["profile"] == "long"]
        assert 2 <= len(long) <= 30
        for case in long:
            assert max(case.inputs[0].shape[:2]) >= 18  # type: ignore[union-attr]
            assert case.call.arguments.get("num_layers", 1) == 1
            assert case.labels["regime"] in FILLERS


# --- saturation ---


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_is_saturated_from_the_thresholds_on(dtype: str) -> None:
    torch_dtype = getattr(torch, dtype)
    beyond = torch.tensor([1.0, 1.01, 2.0, 20.0], dtype=torch.float64)
    for function, threshold, limit in (
        (torch.sigmoid, SIGMOID_ONE, 1.0),
        (torch.sigmoid, SIGMOID_ZERO, 0.0),
        (torch.tanh, TANH_ONE, 1.0),
        (torch.tanh, -TANH_ONE, -1.0),
    ):
        # float16 and bfloat16 round the threshold itself: one ULP further on.
        points = (beyond * threshold * 1.01).to(torch_dtype).repeat(16)
        assert (function(points) == limit).all()


def test_thresholds_are_those_of_float64_and_not_far_from_where_it_saturates() -> None:
    assert 1 / (1 + np.exp(-SIGMOID_ONE)) == 1 > 1 / (1 + np.exp(4 - SIGMOID_ONE))
    assert np.exp(SIGMOID_ZERO) == 0 < np.exp(SIGMOID_ZERO + 2)
    assert np.tanh(TANH_ONE) == 1 > np.tanh(TANH_ONE - 1)


def test_a_doubtful_operand_and_a_less_accurate_backend_are_not_saturated() -> None:
    precision = Precision.of("float32")
    x = np.array([20.0, -20.0, 19.0])
    assert ((activations.tanh(exact_operand(x, precision)).error == 0) == [True, True, False]).all()
    doubtful = rounding.Rounded(x, np.full(3, 1.0), precision)
    assert (activations.tanh(doubtful).error > 0).all()
    coarse = Precision.of("float32", Numerics(ulp={"tanh": 8}))
    assert (activations.tanh(exact_operand(x, coarse)).error > 0).all()
    assert (activations.sigmoid(exact_operand(50 * x, coarse)).error > 0).all()


# --- step by step ---


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_steps_agree_with_brute_force(layer: str) -> None:
    compared = 0
    for case in cases(layer, "float64", 160):
        if case.labels["regime"] == "large" or case.labels["profile"] == "long":
            continue
        trial = _trial(case)
        trial.arrays = reference(case)
        for name, got, wanted in steps.teacher_forced_steps(trial):
            compared += values.compare(name, got, wanted).comparisons
    assert compared > 300


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_bounds_of_long_sequences_are_those_of_a_step(layer: str) -> None:
    margin, compared = None, 0
    for case in cases(layer, "float32"):
        if case.labels["profile"] == "long" and case.labels["regime"] == "gentle":
            for name, got, wanted in steps.teacher_forced_steps(_trial(case)):
                assert wanted.error.max() < 1e-3 * max(1, np.abs(wanted.value).max())
                margin = larger_margin(margin, values.compare(name, got, wanted).margin)
                compared += 1
    assert compared
    assert margin is not None
    assert margin < 1


def test_an_output_that_is_not_finite_decides_nothing_of_the_next_step() -> None:
    case = next(c for c in cases("RNN") if c.labels["profile"] == "long")
    trial = _trial(case)
    trial.arrays = tuple(np.full_like(y, np.inf) for y in trial.arrays)
    _, _, wanted = steps.teacher_forced_steps(trial)[0]
    undecided = ~np.isfinite(wanted.error) | np.isnan(wanted.value)
    assert undecided.mean() > 0.3


# --- bugs ---


def _find_bug(name: str) -> tuple[planted.Bug, ModuleBackend]:
    bug = next(bug for bug in planted.BUGS if bug.name == name)
    return bug, ModuleBackend(name, nn=SimpleNamespace(**{bug.layer: bug.implementation}))


@pytest.mark.parametrize("name", ONLY_EXACT)
def test_bugs_are_seen_by_exact_regimes(name: str) -> None:
    bug, backend = _find_bug(name)
    dtype, regimes = ONLY_EXACT[name]
    engine, item = Engine(backend, 200, 0), Item(bug.layer, bug.check, dtype, "cpu")
    caught = set()
    for case in cases(bug.layer, dtype, examples=600):
        if case.labels["regime"] in regimes:
            try:
                engine.try_case(item, case)
            except Failure:
                caught.add(case.labels["regime"])
    assert caught == regimes, bug.story


def test_weights_that_lost_bits_are_seen_in_gradients() -> None:
    _, backend = _find_bug("grucell-weights-in-twenty-two-bits")
    engine, item = Engine(backend, 200, 0), Item("GRUCell", "gradients", "float32", "cpu")
    failures = 0
    for case in cases("GRUCell"):
        if case.labels["regime"] == "bits" and case.inputs[0].size:  # type: ignore[union-attr]
            try:
                engine.try_case(item, case)
            except Failure:
                failures += 1
    assert failures >= 5


def test_the_bound_of_the_whole_sequence_misses_a_state_that_lost_bits() -> None:
    _, backend = _find_bug("rnn-state-in-half-after-sixteen-steps")
    messages = []
    for case in cases("RNN", seed=3):
        if case.labels["profile"] == "long" and case.labels["regime"] == "gentle":
            trial = Trial(backend, CATALOGUE["RNN"], case)
            values.compare_outputs(trial)
            try:
                values.check(trial)
            except Failure as failure:
                messages.append(str(failure))
    assert messages
    assert all("from the layer's own previous output" in text for text in messages)


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_torch_passes_step_by_step(layer: str) -> None:
    search = first_failure(torch_backend, layer, "values", "float16", examples=40, seed=9)
    assert search.passed, search
    # Of a single step the layer's own oracle says the same.
    assert steps.teacher_forced_steps(_trial(cases(layer)[0])) == ()


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_a_sum_that_is_exact_in_one_order_only_is_none(layer: str) -> None:
    """x W + b_ih = 2⁻²³ is exact, and b_hh = 2⁻²⁵ on top; b_ih + b_hh, as oneDNN adds, is not."""
    rows = {"RNN": [1.0], "LSTM": [1.0] * 4, "GRU": [0.0, 0.0, 1.0]}[layer]
    ones = np.array(rows)
    tiny = 2.0**-24 if layer == "GRU" else 2.0**-25  # the reset gate takes half of it
    state = {"weight_ih_l0": ones[:, np.newaxis], "weight_hh_l0": np.zeros((len(rows), 1)),
             "bias_ih_l0": (2.0**-23 - 1) * ones, "bias_hh_l0": tiny * ones}  # fmt: skip
    call = Call(layer, {"input_size": 1, "hidden_size": 1}, state, "float32", "cpu")
    expected = _trial(Case(call, (np.ones((1, 1)),))).expected[0]
    # Of the other order the sum is off by b_hh, of which a gate keeps a part.
    assert expected.error.min() > tiny / 8


def test_nothing_times_what_overflows_is_not_exact() -> None:
    """One reset gate is 0, its row of W_hn h beyond float16: a kernel that stores it has 0·∞."""
    weight = np.ones((12, 4))
    weight[1, 3], weight[10, 3] = -1.0, 3.0
    state = {"weight_ih_l0": np.ones((12, 4)), "weight_hh_l0": weight,
             "bias_ih_l0": np.zeros(12), "bias_hh_l0": np.ones(12)}  # fmt: skip
    call = Call("GRU", {"input_size": 4, "hidden_size": 4}, state, "float16", "cpu")
    hidden = np.array([[0.0, 0.0, 0.0, -32752.0]])
    case, numerics = Case(call, (np.zeros((1, 4)), hidden)), torch_backend.numerics("float16")
    expected = Trial(torch_backend, CATALOGUE["GRU"], case, numerics).expected[0]
    assert expected.decided.tolist() == [[True, True, False, True]]
