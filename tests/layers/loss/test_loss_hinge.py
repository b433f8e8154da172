"""The losses of ±1 labels: what is drawn, each law seen failing, values at their kinks."""

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
from conformance.layers import CATALOGUE, DTYPES
from conformance.oracles.loss.hinge import (
    hinge_embedding_loss,
    margin_ranking_loss,
    soft_margin_loss,
)

EMBEDDING, RANKING, SOFT = (
    "functional.hinge_embedding_loss",
    "functional.margin_ranking_loss",
    "functional.soft_margin_loss",
)
FLOAT64 = Precision.of("float64")
Addend = Callable[..., Any]
# Law → what is added to torch's loss so that it no longer holds.
COMMON: dict[str, Addend] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: x[0].sum(),
    "rows": lambda x, y, facts: float(len(x) > 16),
    "repeated": lambda x, y, facts: float(len(x) > 16),
    "unbatched": lambda x, y, facts: float(x.dim() == 0),
    "reduced": lambda x, y, facts: float(facts.get("reduction", "mean") == "sum"),
}
BROKEN: dict[str, dict[str, Addend]] = {
    EMBEDDING: {
        **COMMON,
        "scaled": lambda x, y, facts: 1.0,
        "label": lambda x, y, facts: facts.get("margin", 1.0),
    },
    RANKING: {
        **COMMON,
        "scaled": lambda x, y, facts: 1.0,
        "swapped": lambda x, y, facts: x.sum(),
    },
    SOFT: {
        **COMMON,
        "mirrored": lambda x, y, facts: x.sum(),
        "odd": lambda x, y, facts: x.square().sum() + y.sum(),
    },
}


@pytest.mark.parametrize(("layer", "name"), [(x, law) for x in BROKEN for law in BROKEN[x]])
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    function_name, addend = layer.removeprefix("functional."), BROKEN[layer][name]

    def wrong(*inputs: torch.Tensor, **facts: Any) -> Any:
        loss = getattr(functional, function_name)(*inputs, **facts)
        return loss + addend(inputs[0], inputs[-1], facts) if inputs[0].numel() else loss

    backend = ModuleBackend(
        "wrong", nn=torch.nn, functional=SimpleNamespace(**{function_name: wrong})
    )
    assert law_findings(backend, layer, name)[1]


@pytest.mark.parametrize("layer", list(BROKEN))
def test_each_law_holds_of_torch_and_none_is_forgotten(layer: str) -> None:
    assert {law.name for law in CATALOGUE[layer].laws} == set(BROKEN[layer])
    for name in BROKEN[layer]:
        compared, findings = law_findings(torch_backend, layer, name, unlisted_only=True)
        assert compared
        assert not findings


@pytest.mark.parametrize("layer", list(BROKEN))
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[Any] = set()
    for case in cases(layer, dtype):
        *_, x, target = case.inputs
        assert x is not None
        assert target is not None
        assert set(np.unique(target)) <= {-1.0, 1.0}
        argument = case.call.arguments.get
        forms |= {f"rank {x.ndim}", argument("reduction", "mean"), case.labels["regime"]}
        forms |= {f"labels {case.labels['profile']}", f"margin {argument('margin', 'left out')}"}
        forms |= set() if x.size else {"empty"}
    wanted = {"rank 0", "rank 1", "mean", "sum", "none", "empty", "normal", "mixed", "integers"}
    wanted |= {"labels any", "labels 1", "labels -1", "margin left out"}
    wanted |= {"rank 2", "rank 3", "rank 4"} if layer != RANKING else set()
    wanted |= {"around"} if layer == SOFT else {"margin 2.0", "margin 0.1", "margin -1.0", "large"}
    assert forms >= wanted, wanted - forms


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_numbers_are_exact(dtype: str) -> None:
    precision = Precision.of(dtype)
    x, y = (
        exact_operand(np.array(z), precision)
        for z in ([3.0, -2.0, 0.0, 1.0], [1.0, -1.0, -1.0, 1.0])
    )
    for loss, wanted in (
        (hinge_embedding_loss({}, x, y, margin=2.0), 2.5),
        (margin_ranking_loss({}, x, x, y, margin=2.0, reduction="sum"), 8.0),
    ):
        assert loss.value == wanted
        assert loss.error == 0


def test_at_the_margin_any_slope_up_to_that_of_the_hinge_is_right() -> None:
    x = leaf(np.array([1.0, 0.5, 2.0]), FLOAT64)
    loss = hinge_embedding_loss({}, x, exact_operand(-np.ones(3), FLOAT64), reduction="sum")
    (slope,) = pull_back([loss], [exact_operand(np.ones(()), FLOAT64)], [x])
    assert list(slope.value) == [-0.5, -1.0, 0.0]
    assert np.allclose(slope.error, [0.5, 0.0, 0.0])


def test_a_large_loss_is_finite_and_a_small_one_has_digits() -> None:
    x, y = exact_operand(np.array([-1000.0, 40.0]), FLOAT64), exact_operand(np.ones(2), FLOAT64)
    loss = soft_margin_loss({}, x, y, reduction="none")
    assert np.allclose(loss.value, [1000.0, np.exp(-40.0)], rtol=1e-15, atol=0)
    assert (loss.error <= 1e-14 * loss.value).all()


def test_the_mean_of_nothing_is_nan_for_certain_and_the_sum_0() -> None:
    nothing = exact_operand(np.zeros(0), FLOAT64)
    for reduction, wanted in (("mean", np.nan), ("sum", 0.0)):
        loss = soft_margin_loss({}, nothing, nothing, reduction=reduction)
        assert np.array_equal(loss.value, wanted, equal_nan=True)
        assert loss.error == 0
