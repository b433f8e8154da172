"""Vectors over their norms: what is drawn, zeros in each dtype, and each law seen failing."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE, DTYPES
from conformance.oracles.distance.normalize import normalize

NAME = "functional.normalize"


def test_every_form_of_a_vector_is_drawn() -> None:
    forms: set[Any] = set()
    for case in cases(NAME):
        (x,), arguments = case.inputs, case.call.arguments
        assert x is not None
        dim = arguments.get("dim", 1)
        forms |= {
            ("rank", x.ndim),
            ("p", arguments.get("p", 2.0)),
            ("eps", arguments.get("eps", 1e-12)),
        }
        forms |= {case.labels["profile"], "one" if isinstance(dim, int) else f"{len(dim)} axes"}
        forms |= {"from the end"} if min(np.atleast_1d(dim)) < 0 else set()
        forms |= {"all"} if len(np.atleast_1d(dim)) == x.ndim else set()
        forms |= {"empty"} if not x.size else set()
    assert forms >= {("rank", k) for k in (1, 2, 3, 4)} | {"one", "1 axes", "2 axes", "3 axes"}
    assert forms >= {("p", p) for p in (2.0, 1.0, math.inf, 3.0, 0.5, 1.5, 0.0)}
    assert forms >= {("eps", eps) for eps in (1e-12, 0.5, 1e-3, 10.0, 0.0)}
    assert forms >= {"plain", "nothing", "long", "from the end", "all", "empty"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vector_of_zeros_stays_one(dtype: str) -> None:
    """Whether or not the dtype has a number for eps."""
    output = normalize({}, exact_operand(np.zeros((1, 2)), Precision.of(dtype)))
    assert (output.value == 0).all()
    assert (output.error == 0).all()


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, math.inf])
def test_gradients_are_differences(p: float) -> None:
    generator = np.random.default_rng(0)
    x, weight = generator.standard_normal((2, 3, 4))
    precision = Precision.of("float64")
    x_leaf = leaf(x, precision)
    output = normalize({}, x_leaf, p=p)
    (gradient,) = pull_back([output], [exact_operand(weight, precision)], [x_leaf])

    def total(y: np.ndarray) -> float:
        return float((normalize({}, exact_operand(y, precision), p=p).value * weight).sum())

    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = 1e-6
        slope = (total(x + step) - total(x - step)) / 2e-6
        assert abs(gradient.value[index] - slope) < 1e-6
    assert (gradient.error < 1e-12).all()


def _wrong_backend(when: Callable[[torch.Tensor, Any], bool]) -> ModuleBackend:
    """A backend whose normalize adds 1 to every number in some calls."""

    def wrong(input: torch.Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
        output = functional.normalize(input, p, dim, eps)
        return output + 1 if when(input, dim) else output

    return ModuleBackend("fake", nn=nn, functional=SimpleNamespace(normalize=wrong))


def _has_several_axes(dim: Any) -> bool:
    return not isinstance(dim, int)


FAKES = {
    "names": _wrong_backend(lambda x, dim: min(np.atleast_1d(dim)) < 0),
    "rows": _wrong_backend(lambda x, dim: max(x.shape) > 16),
    "order": _wrong_backend(
        lambda x, dim: x.numel() > 1 and bool(x.flatten()[0] > x.flatten()[-1])
    ),
    "negated": _wrong_backend(lambda x, dim: bool(x.sum() > 0)),
    "stretched": _wrong_backend(lambda x, dim: bool((x.abs() > 9).any())),
    "flat": _wrong_backend(lambda x, dim: _has_several_axes(dim)),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert {law.name for law in CATALOGUE[NAME].laws} == set(FAKES)
    assert law_findings(FAKES[name], NAME, name)[1]
    compared, findings = law_findings(torch_backend, NAME, name)
    assert compared
    assert not findings
