"""A layer's own weight as its input, and gradients that several backward passes add up."""

from __future__ import annotations

import numpy as np
import planted
import pytest
import torch
from kill_rate import backend_of
from support import cases, first_failure

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.answers import ExpectedGradients
from conformance.checks.related_cases import case_on_own_weight
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Call

BUGS = [bug for bug in planted.BUGS if bug.implementation.__module__.endswith(".one_tensor_twice")]
LAYERS_ON_OWN_WEIGHT = (
    "Linear", "Conv2d", "ConvTranspose1d", "GRU", "LSTMCell", "Bilinear", "LayerNorm", "PReLU",
    "TransformerEncoderLayer",
)  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bug_is_caught(bug: planted.Bug) -> None:
    assert first_failure(backend_of(bug), bug.layer, bug.check).failure, bug.story


@pytest.mark.parametrize("layer", LAYERS_ON_OWN_WEIGHT)
def test_a_layer_is_called_on_its_own_weight(layer: str) -> None:
    own_cases = [own for case in cases(layer) if (own := case_on_own_weight(case)) is not None]
    assert own_cases
    for case in own_cases:
        (index,) = (k for k, x in enumerate(case.inputs) if _is_of_state(x, case.call))
        trial = Trial(torch_backend, CATALOGUE[layer], case)
        name = next(k for k, x in case.call.state.items() if x is case.inputs[index])
        assert trial.natives[index].data_ptr() == trial.layer.state()[name].data_ptr()


@pytest.mark.parametrize(
    "layer", ["functional.linear", "functional.conv2d", "functional.layer_norm"]
)
def test_a_function_is_called_on_its_own_weight(layer: str) -> None:
    own_cases = [own for case in cases(layer) if (own := case_on_own_weight(case)) is not None]
    assert own_cases
    weight_index = CATALOGUE[layer].signature.input_names.index("weight")
    for case in own_cases:
        assert case.inputs[0] is case.inputs[weight_index]
        trial = Trial(torch_backend, CATALOGUE[layer], case)
        assert trial.natives[0] is trial.natives[weight_index]


def _is_of_state(x: np.ndarray | None, call: Call) -> bool:
    return any(x is tensor for tensor in call.state.values())


def test_gradients_add_up_through_a_kept_graph_and_over_calls() -> None:
    state = {"weight": np.array([[2.0]]), "bias": np.array([1.0])}
    arguments = {"in_features": 1, "out_features": 1}
    layer = torch_backend.build(Call("Linear", arguments, state, "float32", "cpu"))
    one, five = (layer.put(np.array([[number]])) for number in (1.0, 5.0))
    (x,), parameters = layer.accumulate(
        (layer.put(np.array([[3.0]])),), (((one,), (one,)), ((five,),))
    )
    assert (x.item(), parameters["weight"].item(), parameters["bias"].item()) == (14.0, 21.0, 7.0)
    assert layer.module is not None
    assert all(parameter.grad is None for parameter in layer.module.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_bound_covers_three_passes_and_two_sums(dtype: str) -> None:
    precision = Precision.of(dtype, None)
    exact = exact_operand(np.array([0.0, 3.0, -7.0]), precision)
    rounded = exact.with_error(np.array([0.0, 0.25, 0.5]))
    once = ExpectedGradients([], [exact, None], {"weight": rounded})
    inputs, parameters = once.accumulated.inputs, once.accumulated.parameters
    assert inputs[1] is None
    assert np.array_equal(inputs[0].value, exact.value)  # type: ignore[union-attr]
    assert not inputs[0].error.any()  # type: ignore[union-attr]
    errors = parameters["weight"].error  # type: ignore[union-attr]
    assert errors[0] == 0
    assert (errors[1:] >= 3 * rounded.error[1:]).all()
    assert (errors[1:] < 3 * rounded.error[1:] + 40 * precision.unit).all()


def test_a_graph_that_the_options_consume_is_pulled_back_once() -> None:
    keeps = CATALOGUE["functional.linear_cross_entropy"].traits.keeps_graph
    by_options = {
        repr(case.call.arguments.get("options")): keeps(case)
        for case in cases("functional.linear_cross_entropy")
        if case.call.arguments.get("reduction", "mean") != "none"
    }
    assert by_options["None"]
    assert set(by_options.values()) == {True, False}
    for options, kept in by_options.items():
        assert kept == (options == "None" or "('allow_retain_graph', True)" in options)


def test_torch_keeps_what_its_layers_promise() -> None:
    for layer in (
        "Linear",
        "GRU",
        "LayerNorm",
        "LinearCrossEntropyLoss",
        "utils.rnn.unpad_sequence",
    ):
        search = first_failure(torch_backend, layer, "gradients", enough=24)
        assert search.failure is None, search
    assert torch.is_grad_enabled()
