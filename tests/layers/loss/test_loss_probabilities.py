"""Divergence, binary cross entropies, likelihoods: what is drawn, each law seen failing, ends."""

from __future__ import annotations

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
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE, DTYPES
from conformance.oracles.loss.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from conformance.oracles.loss.divergence import kl_div
from conformance.oracles.loss.likelihood import gaussian_nll_loss, poisson_nll_loss

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of a mean, and where it broadcasts
KL, BCE, LOGITS, POISSON, GAUSSIAN = NAMES = tuple(
    f"functional.{name}"
    for name in (
        "kl_div",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "poisson_nll_loss",
        "gaussian_nll_loss",
    )
)
FLOAT64, FLOAT16 = Precision.of("float64"), Precision.of("float16")
Addend = Callable[[torch.Tensor, torch.Tensor, tuple[Any, ...], dict[str, Any]], Any]
# Law → what is added to torch's loss so that it no longer holds.
BROKEN: dict[str, Addend] = {
    "form": lambda x, y, rest, facts: 1.0,
    "samples": lambda x, y, rest, facts: x[0].sum() if x.dim() else 0.0,
    "rows": lambda x, y, rest, facts: float(x.dim() > 0 and len(x) > 16),
    "repeated": lambda x, y, rest, facts: float(x.dim() > 0 and len(x) > 16),
    "reduced": lambda x, y, rest, facts: float(facts.get("reduction", "mean") == "sum"),
    "elements": lambda x, y, rest, facts: float(x.numel() > 1024),
    "shape": lambda x, y, rest, facts: float(x.dim() == 2),
    "complement": lambda x, y, rest, facts: x.sum(),
    "mirrored": lambda x, y, rest, facts: x.sum(),
    "certain": lambda x, y, rest, facts: 1.0 - float(facts.get("log_target", False)),
    "mixture": lambda x, y, rest, facts: 1.0 + y.square().sum(),
    "weighted": lambda x, y, rest, facts: float(any(w is not None for w in rest)),
    "ones": lambda x, y, rest, facts: float(any(w is not None for w in rest)),
    "positives": lambda x, y, rest, facts: float(facts.get("pos_weight") is not None),
    "probabilities": lambda x, y, rest, facts: 1.0,
    "itself": lambda x, y, rest, facts: 1.0,
    "forms": lambda x, y, rest, facts: float(facts.get("log_target", False)),
    "nothing": lambda x, y, rest, facts: 1.0,
    "few": lambda x, y, rest, facts: float(facts.get("full", False)),
    "rates": lambda x, y, rest, facts: 1.0,
    "swapped": lambda x, y, rest, facts: x.sum(),
    "floor": lambda x, y, rest, facts: float(bool((rest[0] < 1e-6).any())),
    "full": lambda x, y, rest, facts: float(facts.get("full", False)),
}


@pytest.mark.parametrize(
    ("layer", "name"), [(layer, law.name) for layer in NAMES for law in CATALOGUE[layer].laws]
)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    original = getattr(functional, layer.removeprefix("functional."))

    def wrong(
        input: torch.Tensor, target: torch.Tensor, *optional_inputs: Any, **facts: Any
    ) -> Any:
        loss = original(input, target, *optional_inputs, **facts)
        return loss + BROKEN[name](input, target, optional_inputs, facts) if input.numel() else loss

    others = {n.removeprefix("functional."): getattr(functional, n[11:]) for n in NAMES}
    others["sigmoid"] = torch.sigmoid
    namespace = SimpleNamespace(**{**others, original.__name__: wrong})
    backend = ModuleBackend("wrong", nn=nn, functional=namespace)
    assert law_findings(backend, layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


@pytest.mark.parametrize("layer", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[tuple[str, Any]] = set()
    for case in cases(layer, dtype):
        x, y, *optional_inputs = case.inputs
        assert x is not None
        assert y is not None
        present = [w is not None for w in optional_inputs]
        facts = case.call.arguments
        forms |= {("rank", x.ndim), ("empty", not x.size), ("spread", x.shape != y.shape)}
        forms |= {("reduction", facts.get("reduction", "mean"))}
        forms |= {
            (name, facts[name]) for name in ("log_target", "log_input", "full") if name in facts
        }
        forms |= {("weights", tuple(present))} if layer in (BCE, LOGITS) else set()
        if layer in (BCE, LOGITS) and optional_inputs[0] is not None:
            forms.add(("weight of fewer axes", optional_inputs[0].ndim < x.ndim))
            forms.add(("weight of all", optional_inputs[0].shape == x.shape))
        if layer == GAUSSIAN:
            var = optional_inputs[0]
            assert var is not None
            forms.add(("var lacks an axis", var.ndim < x.ndim))
            forms.add(("var spreads", var.ndim == x.ndim and var.shape != x.shape))
            forms.add(("clamped", bool((var < facts.get("eps", 1e-6)).any())))
        if layer == BCE:
            forms |= {("x", end) for end in (0.0, 1.0) if (x == end).any()}
        if layer != GAUSSIAN:
            forms |= {("y", end) for end in (0.0, 1.0) if (y == end).any()}
    wanted: set[tuple[str, Any]] = {("rank", rank) for rank in range(5)} | {("empty", True)}
    wanted |= {("reduction", word) for word in ("mean", "sum", "none")}
    wanted |= {
        KL: {("reduction", "batchmean"), ("log_target", True), ("spread", True)},
        BCE: {("weights", (True,)), ("weights", (False,)), ("x", 0.0), ("x", 1.0)},
        LOGITS: {("weights", (a, b)) for a in (True, False) for b in (True, False)},
        POISSON: {("log_input", False), ("full", True), ("spread", True)},
        GAUSSIAN: {("full", True), ("var lacks an axis", True), ("var spreads", True)},
    }[layer]
    wanted |= {("y", 0.0), ("y", 1.0)} if layer != GAUSSIAN else {("clamped", True)}
    if layer in (BCE, LOGITS):
        wanted |= {("weight of fewer axes", True), ("weight of all", True)}
    assert forms >= wanted


def _loss_and_gradients(
    loss: Callable[..., Any], *inputs: float, precision: Precision = FLOAT64, **facts: Any
) -> tuple[Rounded, list[Rounded]]:
    """A single loss and its gradients."""
    leaves = [leaf(np.array([x]), precision) for x in inputs]
    output = loss({}, *leaves, reduction="sum", **facts)
    return output, pull_back([output], [exact_operand(np.array(1.0), precision)], leaves)


def test_no_logarithm_of_a_probability_is_below_minus_100() -> None:
    for x, y, wanted in (
        (0.0, 0.0, 0.0),
        (0.0, 1.0, 100.0),
        (1.0, 0.0, 100.0),
        (1e-50, 1.0, 100.0),
    ):
        loss, (_, of_target) = _loss_and_gradients(binary_cross_entropy, x, y)
        assert (loss.value, loss.error.max()) == (wanted, 0.0)
        # Linear in the target, with logarithms that are clamped.
        assert of_target.value == (100.0 if x < 0.5 else -100.0)


def test_slopes_of_probabilities_at_the_ends_are_left_open_where_torch_divides_by_more() -> None:
    _, (of_input, _) = _loss_and_gradients(binary_cross_entropy, 0.0, 0.0)
    assert np.abs(of_input.value - 0.5) <= 0.5
    assert of_input.error >= 0.5
    _, (of_input, _) = _loss_and_gradients(binary_cross_entropy, 0.0, 1.0)
    assert np.isinf(of_input.error)
    _, (of_input, _) = _loss_and_gradients(binary_cross_entropy, 0.25, 0.0)
    assert np.abs(of_input.value - 4 / 3) <= of_input.error < 1e-14


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("x", [-800.0, -40.0, -1.5, 0.0, 3.0, 40.0, 800.0])
def test_gradients_of_logits_are_sigmoid_less_target(x: float, y: float) -> None:
    _, (of_input, of_target) = _loss_and_gradients(binary_cross_entropy_with_logits, x, y)
    decay = np.exp(-abs(x))
    down = decay / (1 + decay)
    sigmoid_less = (1 - y) - down if x > 0 else down - y
    assert np.abs(of_input.value - sigmoid_less) <= of_input.error + 1e-17
    assert of_input.error < 5e-15
    assert np.abs(of_target.value + x) <= of_target.error + 1e-16


def test_zero_times_log_zero_is_nothing_and_has_no_slope() -> None:
    loss, (of_input, of_target) = _loss_and_gradients(kl_div, -2.0, 0.0)
    assert (loss.value, loss.error.max()) == (0.0, 0.0)
    assert (of_input.value, of_input.error) == (0.0, 0.0)
    assert np.isinf(of_target.error)


def test_a_variance_that_is_clamped_has_the_gradient_of_eps() -> None:
    _, (_, _, of_var) = _loss_and_gradients(gaussian_nll_loss, 1.0, 0.0, 0.0, eps=0.5)
    assert np.abs(of_var.value - (0.5 * (2.0 - 4.0))) <= of_var.error + 1e-15


def test_eps_keeps_the_logarithm_of_0_from_being_taken_in_float16() -> None:
    loss, _ = _loss_and_gradients(poisson_nll_loss, 0.0, 1.0, precision=FLOAT16, log_input=False)
    assert np.abs(loss.value + np.log(1e-8)) <= loss.error < 0.05


def test_stirling_means_nothing_to_a_target_of_0() -> None:
    _, (_, of_target) = _loss_and_gradients(poisson_nll_loss, 1.0, 0.0, full=True)
    assert np.abs(of_target.value + 1) <= of_target.error < 1e-14
