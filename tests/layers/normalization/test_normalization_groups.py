"""Normalisations of a sample by itself: laws seen failing, and the statistics after a call."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import brute_force.normalization.batch_and_layer as brute_force
import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE

TRACKED = ("InstanceNorm2d", "functional.instance_norm")


@pytest.mark.parametrize("layer", TRACKED)
def test_state_after_a_call_agrees_with_brute_force(layer: str) -> None:
    compared = 0
    for case in cases(layer, "float64", 120):
        first = case.inputs[0]
        assert first is not None
        if first.size > 400 or case.labels["regime"] == "large":
            continue
        expected = Trial(torch_backend, CATALOGUE[layer], case).expected_update.state
        _, brute = brute_force.answer(case)
        assert set(expected) == set(brute)
        for name, oracle in expected.items():
            assert (np.abs(oracle.value - brute[name]) <= oracle.error).all(), (name, case)
            compared += oracle.value.size
    assert compared > 100


def _positions(x: torch.Tensor) -> torch.Tensor:
    """The place of each number."""
    return torch.arange(x.numel(), dtype=x.dtype).reshape(x.shape)


# What a fake adds a thousandth of.
ADDED: dict[str, Callable[[torch.Tensor], Any]] = {
    "place": _positions,
    "number": lambda x: x,
    "samples": len,
    "square": torch.square,
    "size": torch.abs,
    "channels": lambda x: x.shape[1],
}
FAKES = [
    ("functional.instance_norm", "samples", "samples"),
    ("functional.instance_norm", "places", "place"),
    ("functional.instance_norm", "channels", "channels"),
    ("functional.instance_norm", "shifted", "number"),
    ("functional.instance_norm", "scaled", "number"),
    ("functional.instance_norm", "affine", "square"),
    ("functional.instance_norm", "instance", "number"),
    ("functional.instance_norm", "grouped", "number"),
    ("functional.group_norm", "samples", "samples"),
    ("functional.group_norm", "places", "place"),
    ("functional.group_norm", "groups", "channels"),
    ("functional.group_norm", "shifted", "number"),
    ("functional.group_norm", "scaled", "number"),
    ("functional.group_norm", "group", "number"),
    ("functional.group_norm", "layer", "number"),
    ("functional.rms_norm", "rows", "samples"),
    ("functional.rms_norm", "permuted", "place"),
    ("functional.rms_norm", "negated", "size"),
    ("functional.rms_norm", "scaled", "number"),
    ("functional.rms_norm", "rms", "number"),
    ("functional.rms_norm", "balanced", "number"),
    ("functional.local_response_norm", "samples", "samples"),
    ("functional.local_response_norm", "places", "place"),
    ("functional.local_response_norm", "negated", "size"),
    ("functional.local_response_norm", "rescaled", "square"),
    ("functional.local_response_norm", "response", "number"),
    ("functional.local_response_norm", "surrounded", "channels"),
]


def _wrong_backend(function_name: str, kind: str) -> ModuleBackend:
    """torch, one function of which adds a little."""
    original = getattr(functional, function_name)

    def wrong(input: torch.Tensor, *arguments: Any, **keywords: Any) -> torch.Tensor:
        extra = ADDED[kind](input) if input.dim() else 0
        return original(input, *arguments, **keywords) + 1e-3 * extra  # type: ignore[no-any-return]

    family = [spec.name for spec in CATALOGUE.values() if spec.family == "normalization"]
    bare_names = [x.removeprefix("functional.") for x in family]
    functions = {x: getattr(functional, x) for x in bare_names if hasattr(functional, x)}
    modules = {x: getattr(nn, x) for x in bare_names if hasattr(nn, x)}
    return ModuleBackend(
        "fake",
        nn=SimpleNamespace(**modules),
        functional=SimpleNamespace(**(functions | {function_name: wrong})),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layer", "name", "added"), FAKES)
def test_every_law_is_seen_failing(layer: str, name: str, added: str) -> None:
    _, findings = law_findings(
        _wrong_backend(layer.removeprefix("functional."), added), layer, name, 120, all_cases=True
    )
    findings = [message for message in findings if f"law {name!r}" in message]
    assert findings
    compared, torch_findings = law_findings(torch_backend, layer, name, 120, all_cases=True)
    assert compared >= 5
    # An empty batch with a weight is refused by torch.
    assert all("select(): index 0" in message for message in torch_findings)


class LazyInstanceNormAddingInput(nn.LazyInstanceNorm1d):
    """A thousandth of the numbers is added."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        return super().forward(input) + 1e-3 * input

    cls_to_become = None  # type: ignore[assignment]


@pytest.mark.filterwarnings("ignore")
def test_a_lazy_layer_of_its_own_is_seen() -> None:
    namespace = SimpleNamespace(
        LazyInstanceNorm1d=LazyInstanceNormAddingInput, InstanceNorm1d=nn.InstanceNorm1d
    )
    _, findings = law_findings(
        ModuleBackend("fake", nn=namespace), "LazyInstanceNorm1d", "eager", 60, all_cases=True
    )
    assert any("the worst of" in message for message in findings)
