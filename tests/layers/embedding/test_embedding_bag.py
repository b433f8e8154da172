"""Bags of embeddings and one-hot rows: what is drawn, gradients, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from brute_force.embedding import bag as brute_force
from support import cases, law_findings
from torch import nn

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.cotangents import oracle_gradients
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.layers.embedding.bag import layer_specs
from conformance.model.case import Case
from conformance.oracles.embedding.bag import bags, functional_embedding_bag

LAYERS = ("EmbeddingBag", "functional.embedding_bag")
FLOAT64 = Precision.of("float64")


def _corners(case: Case) -> set[str]:
    arguments, (index, *optional_inputs) = case.call.arguments, case.inputs
    weight = case.call.state["weight"] if case.call.state else optional_inputs.pop(0)
    offsets, factors = optional_inputs
    padding_row, last = arguments.get("padding_idx"), arguments.get("include_last_offset", False)
    bag, count = bags(index, offsets, last)
    flat, sizes = index.reshape(-1), np.bincount(bag, minlength=count)
    pad = None if padding_row is None else padding_row % len(weight)
    padding_counts = (
        np.bincount(bag[flat == pad], minlength=count) if padding_row is not None else sizes * 0
    )
    conditions = {
        "rows": offsets is None,
        "offsets": offsets is not None,
        "end of the last bag": offsets is not None and last,
        "no bag": count == 0,
        "empty bag": (sizes == 0).any(),
        "long bag": (sizes > 64).any(),
        "repeated in a bag": len(set(zip(bag, flat, strict=True))) < len(flat),
        "in two bags": len({*zip(bag, flat, strict=True)}) > len({*flat}),
        "weights": factors is not None,
        "negative padding": padding_row is not None and padding_row < 0,
        "padding in a bag": (padding_counts > 0).any(),
        "bag of padding": ((padding_counts == sizes) & (sizes > 0)).any(),
        "norm": arguments.get("max_norm") is not None,
        "frequency": arguments.get("scale_grad_by_freq", False),
        "sparse": arguments.get("sparse", False),
    }
    return {k for k, holds in conditions.items() if holds} | {arguments.get("mode", "mean")}


EVERY = {
    *("rows", "offsets", "end of the last bag", "no bag", "empty bag", "long bag"),
    *("repeated in a bag", "in two bags", "weights", "negative padding", "padding in a bag"),
    *("bag of padding", "norm", "frequency", "sparse", "sum", "mean", "max"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_corner_is_drawn(layer: str) -> None:
    assert set().union(*map(_corners, cases(layer))) == EVERY


def test_every_number_of_classes_is_drawn() -> None:
    drawn = cases("functional.one_hot", "float32", 100)
    class_counts = {case.call.arguments.get("num_classes", "left out") for case in drawn}
    assert class_counts == {-1, "left out", 1, 2, 3, 5, 17, 129}
    assert {case.inputs[0].ndim for case in drawn} >= {0, 1, 2, 3}
    assert any(case.inputs[0].size == 0 for case in drawn)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 1, -1])
@pytest.mark.parametrize("by_frequency", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_gradients_are_those_of_the_loops(
    mode: str, padding: int | None, by_frequency: bool, flat: bool
) -> None:
    for seed in range(4):
        generator = np.random.default_rng(seed)
        index = generator.integers(0, 3, (12,) if flat else (3, 4))
        offsets = np.array([0, 2, 2]) if flat else None
        cotangent = generator.standard_normal((3, 2))
        weight = leaf(generator.standard_normal((3, 2)), FLOAT64)
        output = functional_embedding_bag(
            {}, exact_operand(index, FLOAT64), weight,
            None if offsets is None else exact_operand(offsets, FLOAT64),
            mode=mode, padding_idx=padding, scale_grad_by_freq=by_frequency,
        )  # fmt: skip
        (gradient,) = pull_back([output], [exact_operand(cotangent, FLOAT64)], [weight])
        wanted = brute_force.gradient(index, offsets, cotangent, 3, mode, by_frequency, padding)
        assert (np.abs(gradient.value - wanted) <= gradient.error + 1e-15).all()
        assert (gradient.error <= 40 * FLOAT64.unit * (1 + np.abs(cotangent).sum())).all()


def test_weights_of_samples_have_the_gradient_of_torch() -> None:
    """In float64, of the cases that have weights and no norm: torch within the oracle's bound."""
    compared = 0
    for case in cases(LAYERS[0], "float64", 600):
        if case.inputs[2] is None or case.call.arguments.get("max_norm") is not None:
            continue
        trial = Trial(torch_backend, CATALOGUE[LAYERS[0]], case)
        cotangent = np.ones(trial.shapes[0])
        (_, _, wanted), _ = oracle_gradients(trial, [cotangent])
        got = trial.input_gradients(cotangent)[2] if cotangent.size else None
        if got is not None and wanted is not None:
            decided = np.isfinite(wanted.error)
            assert (np.abs(got - wanted.value) <= wanted.error)[decided].all()
            compared += int(decided.sum())
    assert compared > 50


def test_a_row_of_a_fitted_case_keeps_its_offsets() -> None:
    """Where `include_last_offset` changes, the end of the last bag comes or goes."""
    spec = next(iter(layer_specs()))
    assert spec.variation.resize is not None
    for case in cases(LAYERS[0]):
        if case.inputs[1] is None:
            continue
        last = case.call.arguments.get("include_last_offset", False)
        arguments = {**case.call.arguments, "include_last_offset": not last}
        fitted = spec.variation.resize(spec, case, arguments)
        assert fitted is not None
        assert len(fitted.inputs[1]) - len(case.inputs[1]) == (-1 if last else 1)
        assert spec.output_shapes(fitted) == spec.output_shapes(case)


def _wrong_backend(when: Callable[..., bool]) -> Any:
    """A backend whose module's answer is changed in some calls."""

    class Wrong(nn.EmbeddingBag):
        def forward(self, input: Any, offsets: Any = None, factors: Any = None) -> Any:
            output = super().forward(input, offsets, factors)
            return output * 2 + 1 if when(self, input, offsets, factors) else output

    Wrong.__name__ = "EmbeddingBag"
    namespace = SimpleNamespace(
        embedding_bag=nn.functional.embedding_bag, embedding=nn.functional.embedding
    )
    return ModuleBackend("wrong", nn=SimpleNamespace(EmbeddingBag=Wrong), functional=namespace)


def _has_descent(input: torch.Tensor) -> bool:
    flat = input.reshape(-1)
    return bool((flat[1:] < flat[:-1]).any())


FAKES = {
    "function": _wrong_backend(lambda m, x, o, w: True),
    "flat": _wrong_backend(lambda m, x, o, w: x.dim() == 1),
    "end": _wrong_backend(lambda m, x, o, w: m.include_last_offset),
    "ones": _wrong_backend(lambda m, x, o, w: w is not None),
    "many": _wrong_backend(lambda m, x, o, w: o is not None and len(o) > 16),
    "order": _wrong_backend(lambda m, x, o, w: _has_descent(x)),
    "padding": _wrong_backend(
        lambda m, x, o, w: m.padding_idx is not None and bool(m.weight[m.padding_idx].sum() > 3)
    ),
    "features": _wrong_backend(lambda m, x, o, w: m.embedding_dim > 16),
    "embedding": _wrong_backend(lambda m, x, o, w: x.dim() == 2),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert set(FAKES) == {law.name for law in CATALOGUE[LAYERS[0]].laws}
    assert law_findings(FAKES[name], LAYERS[0], name)[1]
    compared, findings = law_findings(torch_backend, LAYERS[0], name)
    assert compared
    assert not [text for text in findings if "step must be nonzero" not in text]


def _wrong_one_hot_backend(when: Callable[[torch.Tensor, torch.Tensor], bool]) -> Any:
    def one_hot(input: torch.Tensor, num_classes: int = -1) -> Any:
        output = nn.functional.one_hot(input, num_classes)
        return output * 2 if when(input, output) else output

    return ModuleBackend("wrong", functional=SimpleNamespace(one_hot=one_hot))


HOT = {
    "rows": _wrong_one_hot_backend(lambda x, y: x.dim() == 1 and len(x) > 16),
    "more": _wrong_one_hot_backend(lambda x, y: y.shape[-1] > 16),
    "relabelled": _wrong_one_hot_backend(lambda x, y: bool((x == 1).any())),
}


@pytest.mark.parametrize("name", HOT)
def test_each_law_of_one_hot_rows_is_seen_failing(name: str) -> None:
    layer = "functional.one_hot"
    assert set(HOT) == {law.name for law in CATALOGUE[layer].laws}
    assert law_findings(HOT[name], layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings
