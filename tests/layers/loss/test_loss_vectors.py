"""The losses of vectors: what is drawn, each law seen failing, where a branch changes."""

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
from conformance.oracles.loss.vectors import cosine_embedding_loss, triplet_margin_loss

COSINE, TRIPLET, WITH_DISTANCE = (
    "functional.cosine_embedding_loss",
    "functional.triplet_margin_loss",
    "functional.triplet_margin_with_distance_loss",
)
FLOAT64 = Precision.of("float64")
Addend = Callable[..., Any]
# Law → what is added to torch's loss so that it no longer holds.
COMMON: dict[str, Addend] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: x[0].sum(),
    "rows": lambda x, y, facts: float(len(x) > 16),
    "repeated": lambda x, y, facts: float(len(x) > 16),
    "unbatched": lambda x, y, facts: float(x.dim() == 1),
    "order": lambda x, y, facts: x[..., 0].sum(),
    "reduced": lambda x, y, facts: float(facts.get("reduction", "mean") == "sum"),
}
OF_TRIPLETS = {
    **COMMON,
    "distances": lambda x, y, facts: 1.0,
    "kin": lambda x, y, facts: 1.0,
}
BROKEN: dict[str, dict[str, Addend]] = {
    COSINE: {
        **COMMON,
        "swapped": lambda x, y, facts: x.sum(),
        "similarity": lambda x, y, facts: 1.0,
    },
    TRIPLET: OF_TRIPLETS,
    WITH_DISTANCE: OF_TRIPLETS,
}


@pytest.mark.parametrize(("layer", "name"), [(x, law) for x in BROKEN for law in BROKEN[x]])
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    function_name, addend = layer.removeprefix("functional."), BROKEN[layer][name]

    def wrong(*inputs: torch.Tensor, **facts: Any) -> Any:
        loss = getattr(functional, function_name)(*inputs, **facts)
        return loss + addend(inputs[0], inputs[-1], facts) if inputs[0].numel() else loss

    namespace = SimpleNamespace(**{**vars(functional), function_name: wrong})
    backend = ModuleBackend("wrong", nn=torch.nn, functional=namespace)
    assert law_findings(backend, layer, name)[1]


@pytest.mark.parametrize("layer", list(BROKEN))
def test_each_law_holds_of_torch_and_none_is_forgotten(layer: str) -> None:
    assert {law.name for law in CATALOGUE[layer].laws} == set(BROKEN[layer])
    for name in BROKEN[layer]:
        compared, findings = law_findings(torch_backend, layer, name)
        assert compared
        assert not findings


@pytest.mark.parametrize("layer", list(BROKEN))
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[Any] = set()
    for case in cases(layer, dtype):
        x, arguments = case.inputs[0], case.call.arguments
        assert x is not None
        forms |= {f"rank {x.ndim}", arguments.get("reduction", "mean"), case.labels["regime"]}
        forms |= {case.labels["profile"], *arguments.items()}
        forms |= set() if x.size else {"empty"}
    wanted: set[Any] = {"rank 1", "rank 2", "mean", "sum", "none", "empty", "normal", "full"}
    if layer == COSINE:
        wanted |= {"apart", "opposite", "equal", "nothing", ("margin", -0.5), ("margin", 1.0)}
    else:
        wanted |= {"anchor, positive", "anchor, negative", "positive, negative", "all"}
        wanted |= {("swap", True), ("margin", 0.1), ("margin", 16.0)}
    if layer == WITH_DISTANCE:
        wanted |= {
            ("distance_function", x) for x in (None, "pairwise_distance", "cosine_similarity")
        }
    if layer == TRIPLET:
        wanted |= {("p", p) for p in (1.0, 3.0, np.inf)} | {("eps", e) for e in (0.0, 0.25)}
    assert forms >= wanted, wanted - forms


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_whole_lengths_the_loss_is_exact(dtype: str) -> None:
    precision = Precision.of(dtype)
    anchor, positive, negative = (
        exact_operand(np.array(x), precision) for x in ([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 4.0]])
    )
    # The anchor is 4 from either; they are 3 from each other.
    for swap, wanted in ((False, 1.0), (True, 2.0)):
        loss = triplet_margin_loss({}, anchor, positive, negative, eps=0.0, swap=swap, p=np.inf)
        assert loss.value == wanted
        assert loss.error == 0


def test_a_distance_is_swapped_only_where_the_other_is_smaller() -> None:
    anchor, positive, negative = (exact_operand(np.array([[x]]), FLOAT64) for x in (0.0, 3.0, 4.0))
    unswapped, swapped = (
        float(triplet_margin_loss({}, anchor, positive, negative, margin=2.0, swap=swap).value)
        for swap in (False, True)
    )
    assert np.allclose([unswapped, swapped], [1.0, 4.0], atol=1e-5)


def test_where_both_distances_are_equal_a_gradient_may_go_to_either() -> None:
    anchor, positive, negative = (leaf(np.array([[x]]), FLOAT64) for x in (1.0, -1.0, 0.0))
    loss = triplet_margin_loss({}, anchor, positive, negative, eps=0.0, swap=True)
    (slope,) = pull_back([loss], [exact_operand(np.ones(()), FLOAT64)], [negative])
    assert slope.error > 0.4


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vector_of_zeros_has_the_cosine_0(dtype: str) -> None:
    precision = Precision.of(dtype)
    a, b = (exact_operand(np.array(x), precision) for x in ([[0.0, 0.0]] * 2, [[3.0, 4.0]] * 2))
    y = exact_operand(np.array([1.0, -1.0]), precision)
    loss = cosine_embedding_loss({}, a, b, y, margin=-0.5, reduction="none")
    for way in loss.alternatives:
        assert list(way.value) == [1.0, 0.5]
        assert not way.error.any()


def test_long_vectors_of_float16_have_a_cosine() -> None:
    precision = Precision.of("float16")
    a, b = (exact_operand(np.array(x), precision) for x in ([300.0, 400.0], [400.0, 300.0]))
    loss = cosine_embedding_loss({}, a, b, exact_operand(np.ones(()), precision))
    for way in loss.alternatives:
        assert abs(way.value - 0.04) <= way.error < 0.01
