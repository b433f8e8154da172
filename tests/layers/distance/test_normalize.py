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
    seen: set[Any] = set()
    for case in cases(NAME):
        (x,), given = case.inputs, case.call.arguments
        assert x is not None
        dim = given.get("dim", 1)
        seen |= {("rank", x.ndim), ("p", given.get("p", 2.0)), ("eps", given.get("eps", 1e-12))}
        seen |= {case.labels["profile"], "one" if isinstance(dim, int) else f"{len(dim)} axes"}
        seen |= {"from the end"} if min(np.atleast_1d(dim)) < 0 else set()
        seen |= {"all"} if len(np.atleast_1d(dim)) == x.ndim else set()
        seen |= {"empty"} if not x.size else set()
    assert seen >= {("rank", k) for k in (1, 2, 3, 4)} | {"one", "1 axes", "2 axes", "3 axes"}
    assert seen >= {("p", p) for p in (2.0, 1.0, math.inf, 3.0, 0.5, 1.5, 0.0)}
    assert seen >= {("eps", eps) for eps in (1e-12, 0.5, 1e-3, 10.0, 0.0)}
    assert seen >= {"plain", "nothing", "long", "from the end", "all", "empty"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vector_of_zeros_stays_one(dtype: str) -> None:
    """Whether or not the dtype has a number for eps."""
    found = normalize({}, exact_operand(np.zeros((1, 2)), Precision.of(dtype)))
    assert (found.value == 0).all()
    assert (found.error == 0).all()


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, math.inf])
def test_gradients_are_differences(p: float) -> None:
    generator = np.random.default_rng(0)
    x, weight = generator.standard_normal((2, 3, 4))
    precision = Precision.of("float64")
    taken = leaf(x, precision)
    output = normalize({}, taken, p=p)
    (found,) = pull_back([output], [exact_operand(weight, precision)], [taken])

    def total(y: np.ndarray) -> float:
        return float((normalize({}, exact_operand(y, precision), p=p).value * weight).sum())

    for at in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[at] = 1e-6
        slope = (total(x + step) - total(x - step)) / 2e-6
        assert abs(found.value[at] - slope) < 1e-6
    assert (found.error < 1e-12).all()


def _changed(when: Callable[[torch.Tensor, Any], bool]) -> ModuleBackend:
    """A backend whose normalize adds 1 to every number in some calls."""

    def wrong(input: torch.Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
        output = functional.normalize(input, p, dim, eps)
        return output + 1 if when(input, dim) else output

    return ModuleBackend("fake", nn=nn, functional=SimpleNamespace(normalize=wrong))


def _several(dim: Any) -> bool:
    return not isinstance(dim, int)


FAKES = {
    "names": _changed(lambda x, dim: min(np.atleast_1d(dim)) < 0),
    "rows": _changed(lambda x, dim: max(x.shape) > 16),
    "order": _changed(lambda x, dim: x.numel() > 1 and bool(x.flatten()[0] > x.flatten()[-1])),
    "negated": _changed(lambda x, dim: bool(x.sum() > 0)),
    "stretched": _changed(lambda x, dim: bool((x.abs() > 9).any())),
    "flat": _changed(lambda x, dim: _several(dim)),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert {law.name for law in CATALOGUE[NAME].laws} == set(FAKES)
    assert law_findings(FAKES[name], NAME, name)[1]
    compared, found = law_findings(torch_backend, NAME, name)
    assert compared
    assert not found
