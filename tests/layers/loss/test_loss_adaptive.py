"""AdaptiveLogSoftmaxWithLoss: its cases reach what they should, each law is seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.laws.loss.adaptive import LOG_PROB_LAWS, LOSS, LOSS_LAWS, PREDICT_LAWS
from conformance.layers import DTYPES

Pair = tuple[Any, Any]


def _add_to_output(pair: Pair, number: Any) -> Pair:
    return pair[0] + number, pair[1]


# Law → what torch's answer is made into so that it no longer holds.
BROKEN: dict[str, Callable[[Any, torch.Tensor, torch.Tensor, Pair], Pair]] = {
    "samples": lambda own, x, y, pair: _add_to_output(pair, x.reshape(-1)[0].abs()),
    "rows": lambda own, x, y, pair: _add_to_output(pair, float(len(x) > 16)),
    "unbatched": lambda own, x, y, pair: _add_to_output(pair, float(x.dim() == 1)),
    "averaged": lambda own, x, y, pair: (pair[0], pair[1] * 2 + 1),
    "certain": lambda own, x, y, pair: _add_to_output(pair, 1.0),
    "classes": lambda own, x, y, pair: _add_to_output(pair, y.to(x.dtype)),
    "features": lambda own, x, y, pair: _add_to_output(pair, x[..., 0].abs()),
    "targets": lambda own, x, y, pair: _add_to_output(pair, 1.0),
}
# Likewise what is added to the logarithms of all classes, or to the class that is predicted.
OF_METHODS: dict[tuple[str, str], Callable[[torch.Tensor, torch.Tensor], Any]] = {
    ("log_prob", "samples"): lambda x, y: x[:1, :1].abs(),
    ("log_prob", "rows"): lambda x, y: float(len(x) > 16),
    ("log_prob", "classes"): lambda x, y: torch.arange(y.shape[1]),
    ("log_prob", "features"): lambda x, y: x[:, :1].abs(),
    ("log_prob", "targets"): lambda x, y: 1.0,
    ("log_prob", "most"): lambda x, y: -y.detach() * 2,
    ("predict", "samples"): lambda x, y: (x[:1, 0] > 0).to(y.dtype) - y,
    ("predict", "rows"): lambda x, y: -y if len(x) > 16 else 0,
    ("predict", "most"): lambda x, y: -y,
}


@pytest.mark.parametrize("name", [law.name for law in LOSS_LAWS])
@pytest.mark.filterwarnings("ignore")
def test_each_law_is_seen_failing(name: str) -> None:
    addend = BROKEN[name]

    class Wrong(torch.nn.AdaptiveLogSoftmaxWithLoss):
        def forward(self, input_: torch.Tensor, target_: torch.Tensor) -> Any:
            pair = super().forward(input_, target_)
            return addend(self, input_, target_, tuple(pair)) if input_.numel() else pair

    backend = ModuleBackend("wrong", nn=SimpleNamespace(AdaptiveLogSoftmaxWithLoss=Wrong))
    assert law_findings(backend, LOSS, name)[1]
    compared, findings = law_findings(torch_backend, LOSS, name)
    assert compared
    assert not findings


@pytest.mark.parametrize(("method", "name"), list(OF_METHODS))
@pytest.mark.filterwarnings("ignore")
def test_each_law_of_a_method_is_seen_failing(method: str, name: str) -> None:
    def wrong(module: Any, input: torch.Tensor) -> torch.Tensor:
        output = getattr(torch.nn.AdaptiveLogSoftmaxWithLoss, method)(module, input)
        return output + OF_METHODS[method, name](input, output) if input.numel() else output

    wrong_class = type("Wrong", (torch.nn.AdaptiveLogSoftmaxWithLoss,), {method: wrong})
    backend = ModuleBackend("wrong", nn=SimpleNamespace(AdaptiveLogSoftmaxWithLoss=wrong_class))
    assert law_findings(backend, f"{LOSS}.{method}", name)[1]
    compared, findings = law_findings(torch_backend, f"{LOSS}.{method}", name)
    assert compared
    assert not findings


def test_every_law_of_a_method_has_its_fake() -> None:
    wanted = {("log_prob", law.name) for law in LOG_PROB_LAWS}
    wanted |= {("predict", law.name) for law in PREDICT_LAWS}
    assert wanted == set(OF_METHODS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_a_call_is_drawn(dtype: str) -> None:
    forms: set[tuple[str, Any]] = set()
    for case in cases(LOSS, dtype):
        x, target = case.inputs
        assert x is not None
        assert target is not None
        argument = case.call.arguments.get
        cutoffs = argument("cutoffs")
        assert cutoffs is not None
        bucket = np.searchsorted(cutoffs, target, side="right")
        forms |= {
            ("ndim", x.ndim),
            ("clusters", len(cutoffs)),
            ("bias", argument("head_bias", False)),
            ("divisor", argument("div_value", 4.0)),
            ("no feature", any(0 in w.shape for w in case.call.state.values())),
            ("buckets", min(len(np.unique(bucket)), 3)),
            ("head", bool(target.size) and bool((bucket == 0).all())),
            ("head of one", cutoffs[0] == 1),
            ("empty", not x.size),
            ("regime", case.labels["regime"]),
        }
    wanted: set[tuple[str, Any]] = {("ndim", n) for n in (1, 2)}
    wanted |= {("clusters", n) for n in (1, 2, 3)} | {("buckets", n) for n in (1, 2, 3)}
    wanted |= {("divisor", d) for d in (4.0, 2.0, 1.0, 8.0, 1.5)}
    for name in ("bias", "no feature", "head", "head of one", "empty"):
        wanted |= {(name, True), (name, False)}
    wanted |= {("regime", r) for r in ("integers", "saturated", "normal", "spread", "tiny")}
    assert forms >= wanted, wanted - forms
