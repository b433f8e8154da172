"""The losses over classes by margins: what is drawn, each law seen failing, what is left open."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn import functional

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE, DTYPES
from conformance.layers.fitting import select_places
from conformance.oracles.loss.multi_margin import (
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
)

MULTI_MARGIN, MULTILABEL, SOFT = (
    "functional.multi_margin_loss",
    "functional.multilabel_margin_loss",
    "functional.multilabel_soft_margin_loss",
)
FLOAT64 = Precision.of("float64")
Addend = Callable[..., Any]
# Law → what is added to torch's loss so that it no longer holds.
COMMON: dict[str, Addend] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: x[0].sum(),
    "rows": lambda x, y, facts: float(len(x) > 16),
    "repeated": lambda x, y, facts: float(len(x) > 16),
    "classes": lambda x, y, facts: x[..., 0].sum(),
    "reduced": lambda x, y, facts: float(facts.get("reduction", "mean") == "sum"),
}
UNBATCHED: dict[str, Addend] = {"unbatched": lambda x, y, facts: float(x.dim() == 1)}
SHIFTED: dict[str, Addend] = {"shifted": lambda x, y, facts: x.sum()}
WEIGHTED: dict[str, Addend] = {"weighted": lambda x, y, facts: float(facts["weight"] is not None)}
BROKEN: dict[str, dict[str, Addend]] = {
    MULTI_MARGIN: {**COMMON, **UNBATCHED, **SHIFTED, **WEIGHTED},
    MULTILABEL: {
        **COMMON,
        **UNBATCHED,
        **SHIFTED,
        "labels": lambda x, y, facts: float(y.reshape(-1)[-1]),
    },
    SOFT: {**COMMON, **WEIGHTED, "mirrored": lambda x, y, facts: x.sum()},
}


@pytest.mark.parametrize(("layer", "name"), [(x, law) for x in BROKEN for law in BROKEN[x]])
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    function_name, addend = layer.removeprefix("functional."), BROKEN[layer][name]

    def wrong(input: torch.Tensor, target: torch.Tensor, *arguments: Any, **facts: Any) -> Any:
        loss = getattr(functional, function_name)(input, target, *arguments, **facts)
        weight = arguments[0] if arguments else facts.get("weight")
        extra = addend(input, target, {"weight": weight, **facts}) if input.numel() else 0.0
        return loss + extra

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
        x, target = case.inputs[:2]
        assert x is not None
        assert target is not None
        arguments = case.call.arguments
        forms |= {f"rank {x.ndim}", arguments.get("reduction", "mean"), case.labels["regime"]}
        forms |= {case.labels["profile"], *arguments.items()}
        forms |= set() if x.size else {"empty"}
        forms |= {"one class"} if x.shape[-1] == 1 else set()
        if layer == MULTILABEL and x.size:
            rows = target.reshape(-1, x.shape[-1])
            label_counts = [int(np.cumprod(row >= 0).sum()) for row in rows]
            forms |= {"no label"} if 0 in label_counts else set()
            forms |= (
                {"labels behind"}
                if any((row[n:] >= 0).any() for row, n in zip(rows, label_counts, strict=True))
                else set()
            )
    wanted: set[Any] = {"mean", "sum", "none", "normal", "integers", "one class", "rank 2"}
    wanted |= set() if layer == SOFT else {"rank 1"}
    wanted |= {"no label", "labels behind", "all"} if layer == MULTILABEL else {"weighted", "plain"}
    wanted |= {("p", 2), ("margin", 0.1), ("margin", -1.0)} if layer == MULTI_MARGIN else set()
    wanted |= {"empty"} if layer == SOFT or dtype in ("float32", "float64") else set()
    assert forms >= wanted, wanted - forms


def test_the_examples_of_the_pages() -> None:
    x = exact_operand(np.array([[0.1, 0.2, 0.4, 0.8]]), FLOAT64)
    loss = multi_margin_loss({}, x, exact_operand(np.array([3]), FLOAT64))
    assert abs(loss.value - 0.325) <= loss.error < 1e-14
    labels = exact_operand(np.array([[3, 0, -1, 1]]), FLOAT64)
    loss = multilabel_margin_loss({}, x, labels)
    assert abs(loss.value - 0.85) <= loss.error < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_numbers_are_exact_where_nothing_is_divided_by_three(dtype: str) -> None:
    precision = Precision.of(dtype)
    x, weight = (
        exact_operand(np.array(v), precision)
        for v in ([[3.0, 1.0, 4.0, 1.0]], [1.0, 2.0, 4.0, 1.0])
    )
    target = exact_operand(np.array([1]), precision)
    loss = multi_margin_loss({}, x, target, weight, p=2)
    assert loss.value == 2 * (9 + 16 + 1) / 4
    assert loss.error == 0


def test_sums_of_samples_divided_by_three_round_each() -> None:
    precision = Precision.of("float32")
    target = exact_operand(np.zeros(17, int), precision)
    scores_of_three, scores_of_four = (
        exact_operand(np.tile([scores], (17, 1)), precision)
        for scores in ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0, -1.0])
    )
    losses, total = (
        multi_margin_loss({}, scores_of_three, target, reduction=x) for x in ("none", "sum")
    )
    assert np.allclose(losses.value, 5 / 3, rtol=1e-15)
    assert (losses.error >= 5 / 3 * precision.unit).all()  # 2 + 3 is exact, its third is not
    assert total.error > 17 * 5 / 3 * precision.unit  # theirs, and those of the sum
    for reduction, wanted in (("none", 5 / 4), ("sum", 17 * 5 / 4)):
        loss = multi_margin_loss({}, scores_of_four, target, reduction=reduction)
        assert (loss.value == wanted).all()
        assert not loss.error.any()


def test_a_saturated_score_has_its_loss_and_a_small_one_its_digits() -> None:
    x = exact_operand(np.array([[-1000.0], [40.0]]), FLOAT64)
    loss = multilabel_soft_margin_loss(
        {}, x, exact_operand(np.ones((2, 1)), FLOAT64), reduction="none"
    )
    assert np.allclose(loss.value, [1000.0, np.exp(-40.0)], rtol=1e-15, atol=0)


def test_nan_is_left_open_where_it_is_compared_and_certain_where_it_is_added() -> None:
    x = exact_operand(np.array([np.nan, 1.0, 2.0]), FLOAT64)
    compared = multi_margin_loss({}, x, exact_operand(np.array(1), FLOAT64))
    added = multilabel_soft_margin_loss({}, x, exact_operand(np.ones(3), FLOAT64))
    assert np.isinf(compared.error)
    assert np.isnan(added.value)
    assert added.error == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_resized_case_has_different_labels_still(size: int) -> None:
    spec = CATALOGUE["MultiLabelMarginLoss"]
    for case in cases("MultiLabelMarginLoss", examples=60):
        x = case.inputs[0]
        assert x is not None
        places = np.arange(size) % max(x.shape[-1], 1)
        axes = spec.resizable_axes(case)[-1]
        other = select_places(spec, case, axes, places.tolist())
        assert other is not None
        moved, target = other.inputs[:2]
        assert moved is not None
        assert target is not None
        assert moved.shape == target.shape == (*x.shape[:-1], size)
        for labels in target.reshape(-1, size):
            front = labels[: int(np.cumprod(labels >= 0).sum())].tolist()
            assert len(set(front)) == len(front)
            assert max(front, default=0) < size
