"""The cross entropy: its cases reach what they should, each law is seen failing, torch's sums."""

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
from conformance.laws.loss.cross_entropy import LAWS
from conformance.layers import DTYPES
from conformance.oracles.loss.cross_entropy import cross_entropy

NAMES = ("CrossEntropyLoss", "functional.cross_entropy")
Wrong = Callable[..., torch.Tensor]


def _axis(x: torch.Tensor) -> int:
    return min(x.dim() - 1, 1)


# Law → what is added to torch's loss so that it no longer holds.
BROKEN: dict[str, Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], Any]] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: x[0].sum(),
    "rows": lambda x, y, facts: float(len(x) > 16),
    "unbatched": lambda x, y, facts: float(x.dim() == 1),
    "positions": lambda x, y, facts: float(x.dim() > 2),
    "classes": lambda x, y, facts: x.select(_axis(x), 0).sum(),
    "shifted": lambda x, y, facts: x.sum(),
    "ignored": lambda x, y, facts: x.sum(),
    "dropped": lambda x, y, facts: float((y == facts.get("ignore_index", -100)).any()),
    "weighted": lambda x, y, facts: float(facts.get("weight") is not None),
    "one-hot": lambda x, y, facts: float(y.is_floating_point()),
    "repeated": lambda x, y, facts: float(len(x) > 16),
    "reduced": lambda x, y, facts: float(facts.get("reduction", "mean") == "sum"),
}


@pytest.mark.parametrize("name", [law.name for law in LAWS])
def test_each_law_is_seen_failing(name: str) -> None:
    addend = BROKEN[name]

    def wrong(input: torch.Tensor, target: torch.Tensor, weight: Any = None, **facts: Any) -> Any:
        loss = functional.cross_entropy(input, target, weight, **facts)
        return loss + addend(input, target, {"weight": weight, **facts}) if input.numel() else loss

    namespace = SimpleNamespace(cross_entropy=wrong)
    backend = ModuleBackend("wrong", nn=torch.nn, functional=namespace)
    assert law_findings(backend, NAMES[1], name)[1]
    compared, findings = law_findings(torch_backend, NAMES[1], name)
    assert compared
    assert not findings


@pytest.mark.parametrize("layer", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(layer: str, dtype: str) -> None:
    forms: set[tuple[str, Any]] = set()
    for case in cases(layer, dtype):
        x, target, *optional_inputs = case.inputs
        assert x is not None
        assert target is not None
        weight = optional_inputs[0] if optional_inputs else case.call.state.get("weight")
        argument = case.call.arguments.get
        indices = target.dtype.kind == "i"
        ignored = (target == argument("ignore_index", -100)) if indices else np.zeros(1, bool)
        forms |= {
            ("ndim", x.ndim),
            ("indices", indices),
            ("weight", weight is not None),
            ("reduction", argument("reduction", "mean")),
            ("smoothing", argument("label_smoothing", 0.0)),
            ("ignored", "all" if ignored.size and ignored.all() else bool(ignored.any())),
            ("class ignored", argument("ignore_index", -100) >= 0),
            ("empty", not x.size),
            ("regime", case.labels["regime"]),
        }
    wanted = {("ndim", n) for n in (1, 2, 3, 4, 5)}
    for name in ("indices", "weight", "class ignored", "empty"):
        wanted |= {(name, True), (name, False)}
    wanted |= {("reduction", r) for r in ("mean", "sum", "none")}
    wanted |= {("smoothing", s) for s in (0.0, 0.25, 0.1, 0.5, 1.0)}
    wanted |= {("ignored", s) for s in (True, False, "all")}
    wanted |= {("regime", r) for r in ("integers", "saturated", "normal", "offset", "tiny")}
    assert forms >= wanted, wanted - forms


def test_margins_are_exact() -> None:
    """Logits ±1024 apart: the loss is a multiple of that, in every dtype."""
    x, target = np.array([[0.0, -1024.0], [-2048.0, 0.0]]), np.array([1, 1])
    for dtype in DTYPES:
        precision = Precision.of(dtype)
        loss = cross_entropy({}, exact_operand(x, precision), exact_operand(target, precision))
        assert loss.value == 512
        assert loss.error == 0


def test_the_mean_of_nothing_is_nan_for_certain() -> None:
    precision = Precision.of("float32")
    x = exact_operand(np.zeros((2, 3)), precision)
    loss = cross_entropy({}, x, exact_operand(np.array([-100, -100]), precision))
    assert np.isnan(loss.value)
    assert loss.error == 0
