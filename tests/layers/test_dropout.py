"""Dropout: each law is seen failing, and what is drawn has the documented rate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, first_failure, law_findings
from torch.nn import functional

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import random
from conformance.laws.draws import Masked
from conformance.laws.dropout import LAWS
from conformance.layers import DTYPES
from conformance.oracles.dropout import functional_dropout

NAMES = ("Dropout", "functional.dropout")

# Law → (p, training) → the factor of torch's output with which it no longer holds.
BROKEN: dict[str, Any] = {
    "form": lambda p, training: 2.0,
    "probability": lambda p, training: 1.0 if training else 1 - p,
    "nothing": lambda p, training: 2.0 if training and p == 0 else 1.0,
    "everything": lambda p, training: torch.nan if training and p == 1 else 1.0,
}


@pytest.mark.parametrize("name", [law.name for law in LAWS])
def test_each_law_is_seen_failing(name: str) -> None:
    factor = BROKEN[name]

    def wrong(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        return functional.dropout(input, p, training, inplace) * factor(p, training)

    space = SimpleNamespace(dropout=wrong)
    backend = ModuleBackend("wrong", nn=torch.nn, functional=space)
    assert law_findings(backend, NAMES[1], name)[1]
    compared, found = law_findings(torch_backend, NAMES[1], name)
    assert compared
    assert not found


@pytest.mark.parametrize("layer", NAMES)
def test_every_form_of_a_call_is_drawn(layer: str) -> None:
    seen = set()
    for dtype in DTYPES:
        for case in cases(layer, dtype):
            argument = case.call.arguments.get
            training = case.call.training or (
                layer.startswith("functional.") and argument("training", True)
            )
            seen.add((argument("p", 0.5), training, argument("inplace", False)))
    wanted = {(p, training, False) for p in (0.5, 0.1, 0.0, 1.0) for training in (True, False)}
    assert seen >= wanted | {(0.5, True, True), (0.5, False, True)}


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_are_exact(dtype: str) -> None:
    x = exactly(np.array([1.0, -3.0]), Precision.of(dtype))
    for p, scale in ((0.5, 2.0), (0.75, 4.0)):
        found = functional_dropout({}, x, p=p)
        assert isinstance(found, Choices)
        kept, *gone = found.alternatives
        assert (kept.value == x.value * scale).all()
        assert not kept.error.any()
        assert not any(y.value.any() or y.error.any() for y in gone)


def test_a_rate_five_percent_off_is_noticed() -> None:
    class Dropout(torch.nn.Dropout):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            output = super().forward(input)
            if not self.training or self.p in (0, 1) or self.inplace:
                return output
            return output * (torch.rand_like(output) > 0.05)

    backend = ModuleBackend("wrong", nn=SimpleNamespace(Dropout=Dropout))
    assert "kept" in first_failure(backend, "Dropout", "random").said


def test_an_empty_mask_compares_nothing() -> None:
    empty = np.zeros((0, 3))
    kept = Rounded(empty, empty, Precision.of("float32"))
    masked = Masked("dropout", "output", empty, kept, 0.0, empty == 0, rate=0.5)
    assert random._drawn(masked, empty == 0).comparisons == 0
