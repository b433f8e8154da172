"""NLLLoss: its cases reach what they should, each law is seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.laws.loss.nll import LAWS
from conformance.layers import DTYPES

NAMES = ("NLLLoss", "functional.nll_loss")


def _axis(x: torch.Tensor) -> int:
    return min(x.dim() - 1, 1)


# Law → what is added to torch's loss so that it no longer holds.
BROKEN: dict[str, Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], Any]] = {
    "form": lambda x, y, facts: 1.0,
    "samples": lambda x, y, facts: x[0].sum(),
    "rows": lambda x, y, facts: float(len(x) > 16),
    "repeated": lambda x, y, facts: float(len(x) > 16),
    "unbatched": lambda x, y, facts: float(x.dim() == 1),
    "positions": lambda x, y, facts: float(x.dim() > 2),
    "classes": lambda x, y, facts: x.select(_axis(x), 0).sum(),
    "ignored": lambda x, y, facts: x.sum(),
    "dropped": lambda x, y, facts: float((y == facts.get("ignore_index", -100)).any()),
    "weighted": lambda x, y, facts: float(facts.get("weight") is not None),
    "composed": lambda x, y, facts: 1.0,
    "reduced": lambda x, y, facts: float(facts.get("reduction", "mean") == "sum"),
}


@pytest.mark.parametrize("name", [law.name for law in LAWS])
def test_each_law_is_seen_failing(name: str) -> None:
    addend = BROKEN[name]

    def wrong(input: torch.Tensor, target: torch.Tensor, weight: Any = None, **facts: Any) -> Any:
        loss = functional.nll_loss(input, target, weight, **facts)
        return loss + addend(input, target, {"weight": weight, **facts}) if input.numel() else loss

    others = {"log_softmax": functional.log_softmax, "cross_entropy": functional.cross_entropy}
    namespace = SimpleNamespace(nll_loss=wrong, **others)
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
        ignored = target == argument("ignore_index", -100)
        forms |= {
            ("ndim", x.ndim),
            ("weight", weight is not None),
            ("reduction", argument("reduction", "mean")),
            ("ignored", "all" if ignored.size and ignored.all() else bool(ignored.any())),
            ("class ignored", argument("ignore_index", -100) >= 0),
            ("empty", not x.size),
            ("regime", case.labels["regime"]),
        }
    wanted = {("ndim", n) for n in (1, 2, 3, 4, 5)}
    for name in ("weight", "class ignored", "empty"):
        wanted |= {(name, True), (name, False)}
    wanted |= {("reduction", r) for r in ("mean", "sum", "none")}
    wanted |= {("ignored", s) for s in (True, False, "all")}
    wanted |= {("regime", r) for r in ("integers", "saturated", "normal", "logits", "tiny")}
    assert forms >= wanted, wanted - forms


def test_logarithms_of_a_regime_are_those_of_probabilities() -> None:
    logit_cases = [c for c in cases(NAMES[0], "float64") if c.labels["regime"] == "logits"]
    assert logit_cases
    for case in logit_cases:
        x = case.inputs[0]
        assert x is not None
        assert np.allclose(np.exp(x).sum(0 if x.ndim == 1 else 1), 1)
