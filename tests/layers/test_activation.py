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
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE, DTYPES
from conformance.model.activations import ACTIVATIONS
from conformance.model.formats import FORMATS
from conformance.oracles.activation.elementwise import leaky_relu, relu
from conformance.oracles.activation.smooth import silu
from conformance.spec.layer_spec import LayerSpec

MODULES = ("ReLU", "LeakyReLU", "SiLU")
SPECS = [spec for spec in CATALOGUE.values() if spec.family == "activation"]
TORCH_SPECS = [spec for spec in SPECS if spec.in_torch]


def _slopes(function: Callable[..., Any], *numbers: float) -> Any:
    precision = Precision.of("float64")
    x = leaf(np.array(numbers), precision)
    ones = exact_operand(np.ones(len(numbers)), precision)
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
        y = function({}, exact_operand(np.array([np.nan, np.inf, -np.inf]), Precision.of(dtype)))
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
        slopes = [c.call.arguments.get("negative_slope", 0.01) for c in cases(layer, "float32")]
        assert {0.01, 0.0, 1.0, 3.0, -0.5} <= set(slopes)


def _wrong_backend(change: Callable[..., torch.Tensor]) -> Any:
    """A backend whose answers are changed: by the layer, its input, its output, its arguments."""

    def wrong_function(name: str) -> Any:
        original = getattr(functional, name)

        def wrong(input: Any, *arguments: Any, **keywords: Any) -> Any:
            input_copy = input.clone()
            y = original(input, *arguments, **keywords)
            return change(f"functional.{name}", input_copy, y, {**keywords, "*": arguments})

        return wrong

    def wrong_class(name: str) -> Any:
        base = getattr(nn, name)

        def forward(self: Any, input: Any) -> Any:
            input_copy = input.clone()
            return change(name, input_copy, base.forward(self, input), vars(self))

        return type(name, (base,), {"forward": forward})

    modules = {spec.name: wrong_class(spec.name) for spec in TORCH_SPECS if not spec.is_function}
    names = [spec.name.removeprefix("functional.") for spec in TORCH_SPECS if spec.is_function]
    return ModuleBackend(
        "wrong",
        nn=SimpleNamespace(**modules),
        functional=SimpleNamespace(**{name: wrong_function(name) for name in names}),
    )


def _wrong_in(module: str) -> Callable[..., torch.Tensor]:
    """Wrong in one of the layers of a law only, in each of its forms."""
    forms = ["PReLU", "functional.prelu"]
    if module not in forms:
        activation = ACTIVATIONS[module]
        forms = [activation.module, activation.function, activation.in_place]

    def change(name: str, x: torch.Tensor, y: torch.Tensor, arguments: Any) -> torch.Tensor:
        return 2 * y + 1 if name in forms else y

    return change


def _add_one(name: str, x: torch.Tensor, y: torch.Tensor, arguments: Any) -> torch.Tensor:
    return y + 1


# Law → where it no longer holds, by layer, input, output, arguments.
FAKES: dict[str, Callable[..., Any]] = {
    "elements": lambda name, x, y, arguments: y * 2 if x.numel() > 1024 else y,
    "reshaped": lambda name, x, y, arguments: y * 2 + 1 if x.dim() == 1 else y,
    "rows": lambda name, x, y, arguments: y * 2 if x.dim() > 1 and len(x) > 16 else y,
    "form": lambda name, x, y, arguments: y if name.startswith("functional.") else y * 2,
    "in_place": lambda name, x, y, arguments: y * 2 + 1 if name.endswith("_") else y,
    "doubled": _add_one,
    "slope_zero": _wrong_in("LeakyReLU"),
    "mean_slope": _wrong_in("RReLU"),
    "one_slope": _wrong_in("PReLU"),
    "clipped": _wrong_in("ReLU6"),
    "six": _wrong_in("ReLU6"),
    "stretched_range": _add_one,
    "threshold_zero": _wrong_in("Threshold"),
    "nothing_shrunk": _add_one,
    "odd": _add_one,
    "reflected": lambda name, x, y, arguments: y * 2,
    "complement": _add_one,
    "alpha_one": _wrong_in("CELU"),
    "alpha_twice": _add_one,
    "alpha_and_operand": _add_one,
    "scaled_unit": _wrong_in("SELU"),
    "by_sigmoid": _wrong_in("Mish"),
    "beta_twice": _add_one,
    "rest_of_tanh": _add_one,
    "tail": lambda name, x, y, arguments: y,  # torch's 1 + erf(x/√2) cancels
}


def _by_erfc(name: str, x: torch.Tensor, y: torch.Tensor, arguments: Any) -> torch.Tensor:
    wide = x.double()
    return (wide * torch.special.erfc(-wide / 2**0.5) / 2).to(x.dtype)


# Law → what is right, where torch is not.
RIGHT: dict[str, Callable[..., Any]] = {"tail": _by_erfc}


@pytest.mark.parametrize(
    ("layer", "law"), [(spec.name, law.name) for spec in TORCH_SPECS for law in spec.laws]
)
def test_each_law_is_seen_failing(layer: str, law: str) -> None:
    assert law_findings(_wrong_backend(FAKES[law]), layer, law)[1]
    backend = _wrong_backend(RIGHT[law]) if law in RIGHT else torch_backend
    compared, findings = law_findings(backend, layer, law)
    assert compared
    assert not findings


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_argument_and_the_numbers_around_each_kink_are_drawn(spec: LayerSpec) -> None:
    drawn = cases(spec.name, "float32")
    for argument in spec.signature.arguments:
        drawn_values = {c.call.arguments.get(argument.name, argument.default) for c in drawn}
        assert len(drawn_values) > 1, argument.name
    numbers = np.concatenate([c.operands[0].reshape(-1) for c in drawn])
    size = np.abs(numbers[numbers != 0])
    assert size.min() < 2.0**-126
    assert size.max() == FORMATS["float32"].largest
