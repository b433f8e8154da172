"""Dropout of every kind: laws seen failing, rates and channels as documented, alpha's numbers."""

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
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import random
from conformance.checks.trial import Trial
from conformance.laws.dropout import FORMS, LAWS, shared_axes
from conformance.layers import CATALOGUE, DTYPES
from conformance.oracles.dropout import (
    alpha_dropout,
    alpha_dropped_value,
    alpha_kept_value,
    alpha_scale,
    dropout,
)
from conformance.spec.draws import MaskedOutput

NAMES = ("Dropout", "functional.dropout")
EVERY = (*FORMS, *FORMS.values())
FUNCTIONS = tuple(FORMS.values())

# Law → (p, training) → the factor of torch's output with which it no longer holds.
BROKEN: dict[str, Any] = {
    "form": lambda p, training: 2.0,
    "probability": lambda p, training: 1.0 if training else 1 - p,
    "nothing": lambda p, training: 2.0 if training and p == 0 else 1.0,
    "everything": lambda p, training: torch.nan if training and p == 1 else 1.0,
}


@pytest.mark.parametrize("layer", FUNCTIONS)
@pytest.mark.parametrize("name", [law.name for law in LAWS])
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    factor, function_name = BROKEN[name], layer.removeprefix("functional.")
    original = getattr(functional, function_name)
    default_training = "alpha" not in layer

    def wrong(
        input: Any, p: float = 0.5, training: bool = default_training, inplace: bool = False
    ) -> Any:
        # A zero times anything is 0: what is left with p = 1 is NaN.
        return original(input, p, training, inplace) * factor(p, training)

    namespace = SimpleNamespace(**{function_name: wrong})
    backend = ModuleBackend("wrong", nn=torch.nn, functional=namespace)
    assert law_findings(backend, layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


@pytest.mark.parametrize("layer", EVERY)
def test_every_form_of_a_call_is_drawn(layer: str) -> None:
    forms, channel_axes = set(), {}
    function, default_training = layer.startswith("functional."), "alpha" not in layer
    for dtype in DTYPES:
        for case in cases(layer, dtype):
            argument = case.call.arguments.get
            training = case.call.training or (function and argument("training", default_training))
            forms.add((argument("p", 0.5), training, argument("inplace", False)))
            groups = shared_axes(Trial(torch_backend, CATALOGUE[layer], case))
            channel_axes |= {case.inputs[0].ndim: groups} if groups else {}
    wanted = {(p, training, False) for p in (0.5, 0.1, 0.0, 1.0) for training in (True, False)}
    assert forms >= wanted | {(0.5, True, True), (0.5, False, True)}
    assert channel_axes == CHANNELS.get(layer.removeprefix("functional."), {})


# Layer → axes of the input → those that one draw decides about, as the pages say.
CHANNELS: dict[str, Any] = {
    "Dropout1d": {2: (1,), 3: (2,)},
    "Dropout2d": {3: (2,), 4: (2, 3)},
    "Dropout3d": {4: (1, 2, 3), 5: (2, 3, 4)},
    "FeatureAlphaDropout": {4: (1, 2, 3), 5: (2, 3, 4)},
    "feature_alpha_dropout": {4: (2, 3), 5: (2, 3, 4)},
}
CHANNELS |= {name.lower(): CHANNELS[name] for name in ("Dropout1d", "Dropout2d", "Dropout3d")}


@pytest.mark.parametrize("p", [0.1, 1 / 3, 0.5, 0.75, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    """Of ±1, whose mean is 0 and variance 1, by the oracle's own two branches."""
    x = exact_operand(np.array([1.0, -1.0]), Precision.of("float64"))
    kept, dropped = alpha_kept_value(x, p).value, float(alpha_dropped_value(x, p).value)
    mean = (1 - p) * kept.mean() + p * dropped
    variance = (1 - p) * (kept**2).mean() + p * dropped**2 - mean**2
    assert abs(mean) < 1e-15
    assert abs(variance - 1) < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_dropout_is_within_a_few_roundings(dtype: str) -> None:
    """The bound of what is kept is that of three roundings and of how the factor is computed."""
    precision = Precision.of(dtype)
    x = exact_operand(np.array([1.0]), precision)
    for p in (0.1, 0.5, 0.9):
        kept, scale = alpha_kept_value(x, p), alpha_scale(x, p)
        assert 0 < float(kept.error[0]) < 20 * precision.unit * float(kept.value[0])
        assert 0 < float(scale.error) < 12 * precision.unit * float(scale.value)
        low = alpha_dropped_value(x, p)
        assert float(low.error) < 20 * precision.unit * (abs(float(low.value)) + 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_left_of_alpha_dropout_with_p_one(dtype: str) -> None:
    x = exact_operand(np.array([1.0, -3.0]), Precision.of(dtype))
    output = alpha_dropout({}, x, p=1.0, training=True)
    assert isinstance(output, Choices)
    assert not any(y.value.any() or y.error.any() for y in output.alternatives)


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_are_exact(dtype: str) -> None:
    x = exact_operand(np.array([1.0, -3.0]), Precision.of(dtype))
    for p, scale in ((0.5, 2.0), (0.75, 4.0)):
        output = dropout({}, x, p=p)
        assert isinstance(output, Choices)
        kept, *dropped = output.alternatives
        assert (kept.value == x.value * scale).all()
        assert not kept.error.any()
        assert not any(y.value.any() or y.error.any() for y in dropped)


@pytest.mark.parametrize(("layer", "share"), [("Dropout", 0.05), ("Dropout2d", 0.1)])
def test_a_rate_a_little_off_is_noticed(layer: str, share: float) -> None:
    class Wrong(getattr(torch.nn, layer)):  # type: ignore[misc]
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            output = super().forward(input)
            if not self.training or self.p in (0, 1) or self.inplace:
                return output
            axes = 2 if layer == "Dropout2d" else input.dim()
            single = torch.rand(*output.shape[:axes], *[1] * (output.dim() - axes))
            return output * (single > share)

    backend = ModuleBackend("wrong", nn=SimpleNamespace(**{layer: Wrong}))
    message = first_failure(backend, layer, "random").message
    assert "kept" in message
    assert "got a share of 0." in " ".join(message.split())


def test_an_empty_mask_compares_nothing() -> None:
    empty = np.zeros((0, 3))
    kept = Rounded(empty, empty, Precision.of("float32"))
    masked = MaskedOutput("dropout", "output", empty, kept, 0.0, empty == 0, keep_rate=0.5)
    assert random._check_rate(masked, empty == 0).comparisons == 0
