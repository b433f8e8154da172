"""Computed weights: laws seen failing, what is drawn, vectors that move in training."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.strategies.parametrizations import OUTPUT_AXES
from planted.parametrizations.history import _register_spectral_norm, _register_weight_norm
from support import cases, law_findings
from torch.nn.utils import parametrizations

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.layout import _expected_with_stored_product as laid_out
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.oracles.parametrizations import (
    magnitude_shape,
    matrix_shape,
    spectral_norm_weight,
    state_names,
    weight_norm,
)

WEIGHT, SPECTRAL = "utils.parametrizations.weight_norm", "utils.parametrizations.spectral_norm"
LAWS = [(name, law.name) for name in (WEIGHT, SPECTRAL) for law in CATALOGUE[name].laws]


def _wrong_weight(change: Any) -> Any:
    return lambda module, name="weight", dim=0: _register_weight_norm(module, name, dim, change)


def _wrong_spectral(module: Any, name: str = "weight", n_power_iterations: int = 1,
                    eps: float = 1e-12, dim: Any = None) -> Any:  # fmt: skip
    return _register_spectral_norm(
        module, name, n_power_iterations, eps, dim, lambda self, weight: 2 * weight
    )


# Law → what no longer has it.
BROKEN: dict[tuple[str, str], Any] = {
    (WEIGHT, "length"): _wrong_weight(lambda g, v, norm: g**2 * v / norm),
    (WEIGHT, "direction"): _wrong_weight(lambda g, v, norm: g * v),
    (WEIGHT, "plain"): _wrong_weight(lambda g, v, norm: 2 * g * v / norm),
    (SPECTRAL, "scale"): _wrong_spectral,
    (SPECTRAL, "plain"): _wrong_spectral,
}


@pytest.mark.parametrize(("layer", "name"), LAWS)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    function_name = layer.rpartition(".")[2]
    namespace = SimpleNamespace(**{**vars(parametrizations), function_name: BROKEN[layer, name]})
    nn = SimpleNamespace(**{**vars(torch.nn), "utils": SimpleNamespace(parametrizations=namespace)})
    assert law_findings(ModuleBackend("wrong", nn=nn), layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


@pytest.mark.parametrize("layer", [WEIGHT, SPECTRAL])
def test_every_module_and_every_form_is_drawn(layer: str) -> None:
    modules, dims, names, modes = set(), set(), set(), set()
    for case in cases(layer):
        arguments = case.call.arguments
        modules.add(arguments["module"][0])
        dims.add(arguments.get("dim", "left out"))
        names.add(arguments.get("name", "weight"))
        modes.add(case.call.training)
    assert modules == set(OUTPUT_AXES)
    assert names == {"weight", "bias"}
    assert dims >= {"left out", 1, 2, -2} | ({None} if layer == WEIGHT else {-1})
    assert modes == ({False} if layer == WEIGHT else {False, True})


def test_shapes_of_what_a_weight_is_computed_of() -> None:
    assert magnitude_shape((4, 3, 2), 0) == (4, 1, 1)
    assert magnitude_shape((4, 3, 2), -2) == (1, 3, 1)
    assert magnitude_shape((4, 3, 2), None) == ()
    assert matrix_shape((4, 3, 2), 1) == (3, 8)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_the_bound_of_a_length_is_a_few_roundings(dtype: str) -> None:
    """(n + 4)·u of n numbers in a direction; in float64 the oracle rounds as well."""
    precision = Precision.of(dtype)
    g, v = (exact_operand(np.array(x), precision) for x in ([[3.0]], [[1.0, 2.0, 3.0, 5.0]]))
    output = weight_norm(g, v, 0)
    assert 0 < (output.error / np.abs(output.value)).max() < 2 * (4 + 4) * precision.unit
    assert np.allclose(output.value, 3 * v.value / np.sqrt(39.0), rtol=1e-15)


def test_steps_of_the_power_method_come_to_the_largest_singular_value() -> None:
    precision, names = Precision.of("float64"), state_names("weight")
    matrix = np.array([[3.0, 1.0], [0.0, 1.0], [2.0, -1.0]])
    arrays = {names["weight"]: matrix, names["left"]: np.eye(3)[0], names["right"]: np.eye(2)[0]}
    state = {key: exact_operand(x, precision) for key, x in arrays.items()}
    module = ("Linear", (("in_features", 2), ("out_features", 3)))
    output, updates = spectral_norm_weight(
        state, module=module, n_power_iterations=60, training=True
    )
    assert np.allclose(output.value, matrix / np.linalg.norm(matrix, 2))
    assert updates.keys() == {names["left"], names["right"]}
    eval_output, eval_updates = spectral_norm_weight(state, module=module, n_power_iterations=60)
    assert np.array_equal(eval_output.value, matrix / 3.0)
    assert not eval_updates


def test_vectors_after_training_are_those_that_evaluation_uses() -> None:
    case = next(c for c in cases(SPECTRAL) if c.call.training and "weight" not in c.call.state)
    trial = Trial(torch_backend, CATALOGUE[SPECTRAL], case)
    trial.outputs  # noqa: B018
    state = {k: trial.get(x) for k, x in trial.layer.state().items()}  # type: ignore[attr-defined]
    for name, expected in trial.expected_update.state.items():
        assert (np.abs(state[name] - expected.value) <= expected.error).all()
    eval_case = replace(case, call=replace(case.call, state=state, training=False))
    assert not Trial(torch_backend, CATALOGUE[SPECTRAL], eval_case).expected_update.state


@pytest.mark.parametrize("layer", [WEIGHT, SPECTRAL])
def test_a_bias_may_be_added_to_a_stored_product(layer: str) -> None:
    """As of Linear itself; of no other layer."""
    wider = {"Linear": 0, "Conv2d": 0}
    for case in cases(layer, "float16", 200):
        name = case.call.arguments["module"][0]
        if name not in wider:
            continue
        trial = Trial(torch_backend, CATALOGUE[layer], case)
        for fused, separate in zip(trial.expected, laid_out(trial), strict=True):
            wider[name] += int((separate.error > fused.error).sum())
    assert wider["Linear"] > 100
    assert wider["Conv2d"] == 0
