"""L1, MSE, smooth L1, Huber: what is drawn, slopes at the edges, each law seen failing."""

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
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.laws import check_law
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE, DTYPES
from conformance.model.case import Call, Case
from conformance.model.failure import Inapplicable
from conformance.oracles.loss.differences import huber_loss, l1_loss, smooth_l1_loss

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns where it broadcasts
NAMES = tuple(f"functional.{name}_loss" for name in ("l1", "mse", "smooth_l1", "huber"))
FLOAT64 = Precision.of("float64")
# Law → what is added to torch's loss so that it no longer holds.
BROKEN: dict[str, Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], Any]] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: x[0].sum() if x.dim() else 0.0,
    "rows": lambda x, y, facts: float(x.dim() > 0 and len(x) > 16),
    "repeated": lambda x, y, facts: float(x.dim() > 0 and len(x) > 16),
    "reduced": lambda x, y, facts: float(facts.get("reduction", "mean") == "sum"),
    "elements": lambda x, y, facts: float(x.numel() > 1024),
    "shape": lambda x, y, facts: float(x.dim() == 2),
    "swapped": lambda x, y, facts: (x - y).sum(),
    "itself": lambda x, y, facts: 1.0,
    "scaled": lambda x, y, facts: 1.0,
    "kin": lambda x, y, facts: 1.0,
    "limits": lambda x, y, facts: 1.0,
    "ones": lambda x, y, facts: float(facts.get("weight") is not None),
}


@pytest.mark.parametrize(
    ("layer", "name"), [(layer, law.name) for layer in NAMES for law in CATALOGUE[layer].laws]
)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    original = getattr(functional, layer.removeprefix("functional."))

    def wrong(input: torch.Tensor, target: torch.Tensor, **facts: Any) -> Any:
        loss = original(input, target, **facts)
        return loss + BROKEN[name](input, target, facts) if input.numel() else loss

    others = {n.removeprefix("functional."): getattr(functional, n[11:]) for n in NAMES}
    namespace = SimpleNamespace(**{**others, original.__name__: wrong})
    backend = ModuleBackend("wrong", nn=nn, functional=namespace)
    assert law_findings(backend, layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


def test_a_weighted_mean_whose_sum_overflows_breaks_no_law() -> None:
    """The page divides a sum by that of the weights: in float16 the sum may be infinite."""
    call = Call("functional.mse_loss", {}, {}, "float16", "cpu")
    sevens = np.full((44, 31), 7.0)
    case = Case(call, (sevens, np.zeros_like(sevens), None), labels={}, seed=0)
    laws = CATALOGUE[call.layer].laws
    (position,) = [k for k, law in enumerate(laws) if law.name == "ones"]
    with pytest.raises(Inapplicable):
        check_law(Trial(torch_backend, CATALOGUE[call.layer], case), laws[position], position)


@pytest.mark.parametrize("layer", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[tuple[str, Any]] = set()
    for case in cases(layer, dtype):
        x, y, *weight = case.inputs
        assert x is not None
        assert y is not None
        edge = case.call.arguments.get("delta", case.call.arguments.get("beta", 1.0))
        distances = np.abs(np.subtract(x, y))
        forms |= {
            ("rank", x.ndim),
            ("reduction", case.call.arguments.get("reduction", "mean")),
            ("weight", bool(weight) and weight[0] is not None),
            ("edge", edge),
            ("fewer", x.ndim != y.ndim),
            ("spread", x.shape != y.shape and x.ndim == y.ndim),
            ("empty", not x.size),
            ("equal", bool((distances == 0).any())),
            ("at the edge", bool((distances == edge).any())),
            ("beyond", bool((distances > edge).any())),
            ("below", bool((distances < edge).any())),
        }
    has_edge = "huber" in layer or "smooth" in layer
    wanted = {("rank", rank) for rank in range(5)}
    wanted |= {("reduction", word) for word in ("mean", "sum", "none")}
    wanted |= {(name, True) for name in ("fewer", "spread", "empty", "equal", "beyond", "below")}
    wanted |= {("weight", True)} if "smooth" not in layer else set()
    wanted |= {("edge", at) for at in (1.0, 0.5, 2.0, 0.1, 10.0)} if has_edge else set()
    wanted |= {("at the edge", True)} if has_edge else set()
    wanted |= {("edge", 0.0)} if "smooth" in layer else set()
    assert forms >= wanted


def _slope(loss: Callable[..., Any], at: float, **facts: Any) -> tuple[float, float]:
    x, y = leaf(np.array([at]), FLOAT64), exact_operand(np.zeros(1), FLOAT64)
    output = loss({}, x, y, reduction="sum", **facts)
    (gradient,) = pull_back([output], [exact_operand(np.array(1.0), FLOAT64)], [x])
    return float(gradient.value[0]), float(gradient.error[0])


def test_slopes_at_the_edges() -> None:
    """Both sides have one slope there; at 0 any slope of |x| is right."""
    assert _slope(l1_loss, 0.0) == (0.0, 1.0)
    assert _slope(smooth_l1_loss, 0.0, beta=0.0) == (0.0, 1.0)
    assert _slope(smooth_l1_loss, 0.0) == (0.0, 0.0)
    for at in (0.5, -0.5):
        for loss, facts, slope in (
            (smooth_l1_loss, {"beta": 0.5}, np.sign(at)),
            (huber_loss, {"delta": 0.5}, at),
        ):
            value, error = _slope(loss, at, **facts)
            assert abs(value - slope) <= error < 1e-15
