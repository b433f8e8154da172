"""Cosine similarity and distances: what is drawn, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn import functional

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.oracles.distance.vectors import (
    cosine_similarity,
    functional_cosine_similarity,
    norm,
)

FLOAT64 = Precision.of("float64")
COSINE, DISTANCE, PAIRS = (
    "functional.cosine_similarity",
    "functional.pairwise_distance",
    "functional.pdist",
)


def test_every_form_of_a_similarity_is_drawn() -> None:
    forms: set[Any] = set()
    for case in cases(COSINE):
        first, second = case.inputs
        dim = case.call.arguments.get("dim", 1)
        forms |= {f"rank {first.ndim}", case.labels["profile"], case.call.arguments.get("eps")}
        forms |= {"from the end"} if dim < 0 else set()
        forms |= {"broadcast"} if first.shape != second.shape else set()
        forms |= {"fewer axes"} if first.ndim != second.ndim else set()
    assert forms >= {"rank 1", "rank 2", "rank 3", "rank 4", "from the end", "broadcast"}
    assert forms >= {"fewer axes", "apart", "opposite", "equal", "nothing", 0.0, 0.5, 10.0, None}


@pytest.mark.parametrize("layer", [DISTANCE, PAIRS])
def test_every_norm_is_drawn(layer: str) -> None:
    drawn = {case.call.arguments.get("p", 2.0) for case in cases(layer)}
    assert drawn >= {2.0, 1.0, np.inf, 3.0, 0.5, 1.5, 0.0 if layer == PAIRS else -1.0}


def test_the_two_pages_differ_where_both_vectors_are_short() -> None:
    x = exact_operand(np.array([[1e-6, 0.0]]), FLOAT64)
    of_function, of_module = cosine_similarity({}, x, x).alternatives
    assert np.allclose(of_function.value, 1.0)
    assert np.allclose(of_module.value, 1e-4)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, np.inf])
def test_gradients_of_norms_are_differences(p: float) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((3, 4))
    x_leaf = leaf(x, FLOAT64)
    (gradient,) = pull_back(
        [norm(x_leaf, p, -1)], [exact_operand(np.ones((3, 1)), FLOAT64)], [x_leaf]
    )
    step = 1e-6
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        rise = (np.linalg.norm(moved, p, -1) - np.linalg.norm(x, p, -1)).sum() / step
        assert abs(gradient.value[index] - rise) < 1e-5
    assert (gradient.error < 1e-14).all()


def test_below_eps_the_norm_is_no_part_of_the_gradient() -> None:
    """Of 0.3·x₂ ÷ 1 it is x₂; torch has 0.7 for 1."""
    x1, x2 = leaf(np.array([[0.3]]), FLOAT64), exact_operand(np.array([[1.0]]), FLOAT64)
    output = functional_cosine_similarity({}, x1, x2, eps=1.0)
    (gradient,) = pull_back([output], [exact_operand(np.ones(1), FLOAT64)], [x1])
    assert abs(float(gradient.value[0, 0]) - 1.0) <= float(gradient.error[0, 0]) < 1e-14


def _wrong_backend(name: str, when: Callable[..., bool]) -> Any:
    """A backend whose function's answer is changed in some calls."""
    original = getattr(functional, name)

    def wrong(*inputs: Any, **arguments: Any) -> Any:
        output = original(*inputs, **arguments)
        return output * 2 + 1 if when(*inputs, **arguments) else output

    names = ("cosine_similarity", "pairwise_distance", "pdist")
    namespace = SimpleNamespace(**{**{n: getattr(functional, n) for n in names}, name: wrong})
    return ModuleBackend("wrong", nn=torch.nn, functional=namespace)


def _wrong_cosine(when: Callable[..., bool]) -> Any:
    return _wrong_backend("cosine_similarity", lambda a, b, dim=1, eps=1e-8: when(a, b, dim))


def _wrong_distance(when: Callable[..., bool]) -> Any:
    def when_called(
        a: Any, b: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
    ) -> bool:
        return when(a, b, keepdim)

    return _wrong_backend("pairwise_distance", when_called)


def _wrong_pdist(when: Callable[..., bool]) -> Any:
    return _wrong_backend("pdist", lambda x, p=2.0: when(x))


def _first_exceeds_last(x: torch.Tensor) -> bool:
    return x.numel() > 1 and bool(x.reshape(-1)[0] > x.reshape(-1)[-1])


FAKES = {
    (COSINE, "function"): _wrong_cosine(lambda a, b, dim: True),
    (COSINE, "order"): _wrong_cosine(lambda a, b, dim: _first_exceeds_last(a)),
    (COSINE, "rows"): _wrong_cosine(lambda a, b, dim: len(a) > 16),
    (COSINE, "swapped"): _wrong_cosine(lambda a, b, dim: bool(a.sum() > b.sum())),
    (COSINE, "axis"): _wrong_cosine(lambda a, b, dim: dim < 0),
    (COSINE, "itself"): _wrong_cosine(lambda a, b, dim: bool((a == b).all())),
    (DISTANCE, "function"): _wrong_distance(lambda a, b, keepdim: True),
    (DISTANCE, "order"): _wrong_distance(lambda a, b, keepdim: _first_exceeds_last(a)),
    (DISTANCE, "rows"): _wrong_distance(lambda a, b, keepdim: a.dim() == 2 and len(a) > 16),
    (DISTANCE, "mirrored"): _wrong_distance(lambda a, b, keepdim: bool(a.sum() > b.sum())),
    (DISTANCE, "kept"): _wrong_distance(lambda a, b, keepdim: keepdim),
    (DISTANCE, "zeros"): _wrong_distance(lambda a, b, keepdim: a.shape[-1] > 16),
    (PAIRS, "renamed"): _wrong_pdist(lambda x: len(x) > 16),
    (PAIRS, "pairwise"): _wrong_pdist(lambda x: True),
    (PAIRS, "columns"): _wrong_pdist(lambda x: x.shape[1] > 16),
}


@pytest.mark.parametrize(("layer", "name"), FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    laws = {law.name for law in CATALOGUE[layer].laws}
    assert {law for other, law in FAKES if other == layer} == laws
    assert law_findings(FAKES[layer, name], layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


def test_a_subnormal_part_of_a_unit_vector_is_rounded_before_it_is_multiplied() -> None:
    """17 of the smallest numbers over 28 are 0.61, which are 1, and 1.57 with the cotangent: 2."""
    x = np.array([[17 * 2.0**-24, 28.0]])
    unit = (torch.tensor(x, dtype=torch.float16) / 28) * torch.tensor(1.57, dtype=torch.float16)
    precision = Precision.of("float16")
    x_leaf = leaf(x, precision)
    cotangent = exact_operand(np.array([[float(np.float16(1.57))]]), precision)
    (wanted,) = pull_back([norm(x_leaf, 2.0, -1)], [cotangent], [x_leaf])
    assert unit[0, 0] == 2.0**-23
    assert abs(unit[0, 0].item() - wanted.value[0, 0]) <= wanted.error[0, 0]
