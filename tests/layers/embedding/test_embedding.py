"""Embedding: what is drawn, the weight after a call, gradients, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from brute_force.embedding import embedding as brute_force
from support import cases, law_findings
from torch import nn

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.oracles.embedding.embedding import functional_embedding

LAYERS = ("Embedding", "functional.embedding")
FLOAT64 = Precision.of("float64")


def _weight(case: Case) -> np.ndarray:
    return case.call.state["weight"] if case.call.state else case.inputs[1]


def _corners(case: Case) -> set[str]:
    arguments, index, weight = case.call.arguments, case.inputs[0], _weight(case)
    padding_row, max_norm = arguments.get("padding_idx"), arguments.get("max_norm")
    norm_type = arguments.get("norm_type", 2.0)
    looked_up = set(index.reshape(-1).tolist())
    norms = {row: np.linalg.norm(weight[row], norm_type) for row in looked_up}
    conditions = {
        "scalar": index.ndim == 0,
        "empty": index.size == 0,
        "several axes": index.ndim > 2,
        "repeated": len(looked_up) < index.size,
        "negative padding": padding_row is not None and padding_row < 0,
        "padding looked up": padding_row is not None and padding_row % len(weight) in looked_up,
        "renormalised": max_norm is not None and any(norm > max_norm for norm in norms.values()),
        "left as it is": max_norm is not None and any(norm < max_norm for norm in norms.values()),
        "row of nobody": max_norm is not None and len(looked_up) < len(weight),
        "by frequency": arguments.get("scale_grad_by_freq", False),
        "wide": weight.shape[1] > 64,
    }
    norm = {f"p = {norm_type:g}"} if max_norm is not None else set()
    return {name for name, holds in conditions.items() if holds} | norm | {case.labels["regime"]}


EVERY = {
    *("scalar", "empty", "several axes", "repeated", "negative padding", "padding looked up"),
    *("renormalised", "left as it is", "row of nobody", "by frequency", "wide"),
    *("p = 2", "p = 1", "p = inf", "p = 0.5", "p = 3"),
    *("ramp", "integers", "full", "normal", "mixed", "large", "subnormal"),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_corner_is_drawn(layer: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        assert set().union(*map(_corners, cases(layer, dtype))) == EVERY


@pytest.mark.parametrize("layer", LAYERS)
def test_the_weight_after_a_call_is_that_of_the_loops(layer: str) -> None:
    compared = 0
    for case in cases(layer, "float64"):
        arguments = case.call.arguments
        max_norm = arguments.get("max_norm")
        if max_norm is None or case.labels["regime"] in ("large", "subnormal"):
            continue
        _, wanted = brute_force.embedding(
            case.inputs[0], _weight(case), max_norm, arguments.get("norm_type", 2.0)
        )
        expected = (
            Trial(torch_backend, CATALOGUE[layer], case)
            .expected_update.state["weight"]
            .nearest(wanted)
        )
        bounded = np.isfinite(expected.error)
        assert (np.abs(expected.value - wanted) <= expected.error)[bounded].all()
        compared += int(bounded.sum())
    assert compared > 1000


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("padding", [None, 1, -1])
@pytest.mark.parametrize("by_frequency", [False, True])
def test_gradients_are_those_of_the_loops(
    seed: int, padding: int | None, by_frequency: bool
) -> None:
    generator = np.random.default_rng(seed)
    index = generator.integers(0, 3, (3, 4))
    cotangent = generator.standard_normal((3, 4, 2))
    weight = leaf(generator.standard_normal((3, 2)), FLOAT64)
    output = functional_embedding(
        {},
        exact_operand(index, FLOAT64),
        weight,
        padding_idx=padding,
        scale_grad_by_freq=by_frequency,
    )
    (gradient,) = pull_back([output], [exact_operand(cotangent, FLOAT64)], [weight])
    wanted = brute_force.gradient(index, cotangent, 3, padding, by_frequency)
    assert (np.abs(gradient.value - wanted) <= gradient.error + 1e-15).all()
    if padding is not None:
        assert not gradient.value[padding].any()
        assert not gradient.error[padding].any()


def test_a_row_may_be_divided_by_its_norm_with_or_without_a_guard() -> None:
    weight = exact_operand(np.array([[0.003, 0.004]]), FLOAT64)
    updated = functional_embedding(
        {}, exact_operand(np.array([0]), FLOAT64), weight, max_norm=0.001
    )
    plain, guarded = updated.outputs.alternatives
    assert np.allclose(plain.value, [[0.0006, 0.0008]], rtol=1e-15)
    assert np.allclose(guarded.value, plain.value * (0.005 / (0.005 + 1e-7)), rtol=1e-15)
    assert (plain.error < 1e-17).all()


def _wrong_backend(when: Callable[[Any, torch.Tensor], bool]) -> Any:
    """A backend whose module's answer is changed in some calls."""

    class Wrong(nn.Embedding):
        def forward(self, input: torch.Tensor) -> Any:
            output = super().forward(input)
            return output * 2 + 1 if when(self, input) else output

    Wrong.__name__ = "Embedding"
    namespace = SimpleNamespace(embedding=nn.functional.embedding)
    return ModuleBackend("wrong", nn=SimpleNamespace(Embedding=Wrong), functional=namespace)


FAKES = {
    "rows": _wrong_backend(lambda m, x: x.dim() == 1 and len(x) > 16),
    "reshaped": _wrong_backend(lambda m, x: x.dim() > 1),
    "function": _wrong_backend(lambda m, x: True),
    "relabelled": _wrong_backend(lambda m, x: m.num_embeddings > 16),
    "options": _wrong_backend(lambda m, x: m.scale_grad_by_freq),
    "features": _wrong_backend(lambda m, x: m.embedding_dim > 16),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert set(FAKES) == {law.name for law in CATALOGUE["Embedding"].laws}
    assert law_findings(FAKES[name], "Embedding", name)[1]
    compared, findings = law_findings(torch_backend, "Embedding", name)
    assert compared
    assert not findings
