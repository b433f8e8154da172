"""The oracles agree with independent brute-force loops, and with torch in float64."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import brute_force.oracles as brute_force
import numpy as np
import pytest
from support import LAYERS, cases, first_failure

from conformance.arithmetic.choices import Choices
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Case

pytestmark = pytest.mark.in_fork

TINY = 400  # elements of the largest array that a loop in Python is given


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of any layer, by brute force."""
    module_name = f"brute_force.{CATALOGUE[case.call.layer].family}"
    if importlib.util.find_spec(module_name) is not None:
        outputs: tuple[np.ndarray, ...] = importlib.import_module(module_name).reference(case)
        return outputs
    call, inputs = case.call, case.inputs
    name = call.layer.removeprefix("functional.").removeprefix("Lazy")
    arguments = {**call.arguments, **case.keywords}
    state = call.state
    if name == "Identity":
        return (inputs[0],)
    if name.lower().startswith("conv"):
        weight, bias = (state["weight"], state.get("bias")) if state else inputs[1:]
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        function: Any = brute_force.conv
        if "ranspose" in name:
            names = ("stride", "padding", "output_padding", "dilation", "groups", "output_size")
            function = brute_force.conv_transpose
        chosen = {key: arguments[key] for key in names if key in arguments}
        return (function(inputs[0], weight, bias, **chosen),)
    if name in ("Linear", "linear"):
        weight, bias = (state["weight"], state.get("bias")) if state else inputs[1:]
        return (brute_force.linear(inputs[0], weight, bias),)
    if name in ("Bilinear", "bilinear"):
        weight, bias = (state["weight"], state.get("bias")) if state else inputs[2:]
        return (brute_force.bilinear(inputs[0], inputs[1], weight, bias),)
    if name.endswith("Cell"):
        weights = [state.get(key) for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        if name == "LSTMCell":
            return tuple(brute_force.lstm_cell(*inputs, *weights))
        if name == "GRUCell":
            return (brute_force.gru_cell(*inputs, *weights),)
        nonlinearity = arguments.get("nonlinearity", "tanh")
        return (brute_force.rnn_cell(*inputs, *weights, nonlinearity),)
    h_0, c_0 = (*inputs[1:], None, None)[:2]
    facts = {
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "bidirectional": False,
        **arguments,
    }
    for key in ("input_size", "hidden_size", "dropout"):
        facts.pop(key, None)
    return tuple(brute_force.recurrent(name, state, inputs[0], h_0, c_0, **facts))


# The oracle of a layer that is made of others is theirs, one after another.
@pytest.mark.parametrize("layer", [x for x in LAYERS if CATALOGUE[x].oracle.parts is None])
def test_oracle_agrees_with_brute_force(layer: str) -> None:
    compared = 0
    # A function that returns one number needs more cases than one that returns many.
    drawn = (case for seed in range(3) for case in cases(layer, "float64", 120, seed))
    for position, case in enumerate(drawn):
        if position >= 120 and compared > 100:
            break
        arrays = case.operands
        if max(x.size for x in arrays) > TINY or case.labels["regime"] in ("large", "subnormal"):
            continue
        expected = Trial(torch_backend, CATALOGUE[layer], case).expected
        try:
            brute_outputs = reference(case)
        except ZeroDivisionError:  # eps = 0, and numbers that are all alike
            continue
        assert len(expected) == len(brute_outputs)
        for alternatives, brute in zip(expected, brute_outputs, strict=True):
            # Brute force returns one of several right values.
            oracle = (
                alternatives.nearest(brute) if isinstance(alternatives, Choices) else alternatives
            )
            assert oracle.shape == brute.shape, case
            is_bounded = np.isfinite(oracle.error)
            is_near = np.abs(oracle.value - brute) <= oracle.error
            is_near |= np.isnan(oracle.value) & np.isnan(brute)
            assert (is_near | (oracle.value == brute))[is_bounded].all(), case
            compared += np.count_nonzero(is_bounded)
    assert compared > 100


@pytest.mark.parametrize("layer", LAYERS)
def test_oracle_agrees_with_torch_float64(layer: str) -> None:
    search = first_failure(torch_backend, layer, "values", "float64", examples=60, seed=5)
    # A layer that draws random numbers leaves nothing to compare in the calls that draw some.
    draws = CATALOGUE[layer].randomness.draws is not None
    assert search.passed or (draws and not search.failure and search.compared >= 15), search


@pytest.mark.parametrize("layer", LAYERS)
def test_shape_formula_is_that_of_the_values(layer: str) -> None:
    for case in cases(layer, "float32", 60):
        trial = Trial(torch_backend, CATALOGUE[layer], case)
        assert trial.shapes == tuple(y.shape for y in trial.expected)
