"""Activations: slopes at the kink, extremes, what is drawn, and each law seen failing."""

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
from conformance.arithmetic.rounded import exactly
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE, DTYPES
from conformance.oracles.activation import leaky_relu, relu, silu

MODULES = ("ReLU", "LeakyReLU", "SiLU")


def _slopes(function: Callable[..., Any], *numbers: float) -> Any:
    precision = Precision.of("float64")
    x = leaf(np.array(numbers), precision)
    ones = exactly(np.ones(len(numbers)), precision)
    (gradient,) = pull_back([function({}, x)], [ones], [x])
    return gradient


def test_at_a_kink_any_slope_between_those_of_its_sides_is_right() -> None:
    slopes = _slopes(relu, -2.0, 0.0, 3.0)
    assert (slopes.value == [0.0, 0.5, 1.0]).all()
    assert slopes.error == pytest.approx([0.0, 0.5, 0.0])
    slopes = _slopes(lambda state, x: leaky_relu(state, x, negative_slope=3.0), -2.0, 0.0, 5.0)
    assert (slopes.value == [3.0, 2.0, 1.0]).all()
    assert slopes.error == pytest.approx([0.0, 1.0, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [relu, leaky_relu, silu])
def test_nan_stays_and_infinity_is_what_the_limit_is(
    function: Callable[..., Any], dtype: str
) -> None:
    with np.errstate(invalid="ignore"):
        y = function({}, exactly(np.array([np.nan, np.inf, -np.inf]), Precision.of(dtype)))
    assert np.isnan(y.value[0])
    assert y.value[1] == np.inf
    assert (y.error[:2] == 0).all()
    if function is relu:
        assert (y.value[2], y.error[2]) == (0.0, 0.0)
    if function is leaky_relu:
        assert (y.value[2], y.error[2]) == (-np.inf, 0.0)
    if function is silu:  # −∞·0 by the formula, 0 in the limit
        assert y.error[2] == np.inf


@pytest.mark.parametrize("layer", MODULES)
def test_both_signs_zero_and_saturated_numbers_are_drawn(layer: str) -> None:
    numbers = np.concatenate([x.reshape(-1) for c in cases(layer, "float32") for x in c.operands])
    assert {-1.0, 0.0, 1.0} <= set(np.sign(numbers))
    assert ((np.abs(numbers) > 88) & (np.abs(numbers) < 112)).sum() > 50
    assert {x.ndim for c in cases(layer, "float32") for x in c.operands} >= {0, 1, 2, 3, 4}
    if layer == "LeakyReLU":
        given = [c.call.arguments.get("negative_slope", 0.01) for c in cases(layer, "float32")]
        assert {0.01, 0.0, 1.0, 3.0, -0.5} <= set(given)


def _space(change: Callable[[str, torch.Tensor, torch.Tensor, Any], torch.Tensor]) -> Any:
    """A backend whose answers are changed: by the layer, its input, its output, its slope."""

    def function(name: str) -> Any:
        def wrong(input: Any, *arguments: Any, inplace: bool = False, **keywords: Any) -> Any:
            slope = keywords.get("negative_slope", arguments[0] if arguments else 0.01)
            before = input.clone()
            y = getattr(functional, name)(input, *arguments, inplace=inplace, **keywords)
            return change(f"functional.{name}", before, y, slope)

        return wrong

    def module(name: str) -> Any:
        base = getattr(nn, name)

        def forward(self: Any, input: Any) -> Any:
            before = input.clone()
            y = base.forward(self, input)
            return change(name, before, y, getattr(self, "negative_slope", 0.01))

        return type(name, (base,), {"forward": forward})

    return ModuleBackend(
        "wrong",
        nn=SimpleNamespace(**{name: module(name) for name in MODULES}),
        functional=SimpleNamespace(**{n: function(n) for n in ("relu", "leaky_relu", "silu")}),
    )


# Law → where it no longer holds, by layer, input, output, slope.
FAKES: dict[str, Callable[..., Any]] = {
    "elements": lambda name, x, y, slope: y * 2 if x.numel() > 1024 else y,
    "reshaped": lambda name, x, y, slope: y * 2 if x.dim() == 1 else y,
    "form": lambda name, x, y, slope: y * 2 if name in MODULES else y,
    "doubled": lambda name, x, y, slope: y + 1,
    "slope_zero": lambda name, x, y, slope: y + 1 if slope == 0 else y,
    "reflected": lambda name, x, y, slope: y * 2,
}


@pytest.mark.parametrize(
    ("layer", "law"), [(n, law.name) for n in MODULES for law in CATALOGUE[n].laws]
)
def test_each_law_is_seen_failing(layer: str, law: str) -> None:
    assert law_findings(_space(FAKES[law]), layer, law)[1]
    compared, found = law_findings(torch_backend, layer, law)
    assert compared
    assert not found
