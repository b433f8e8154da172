"""Weights with a batch norm folded in: what is drawn, bounds, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn import Parameter, utils

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.layers.fitting import replace_argument
from conformance.model.case import Call, Case
from conformance.oracles.fusion import fuse_conv_bn_weights

FLOAT32 = Precision.of("float32")
LAYERS = tuple(name for name, spec in CATALOGUE.items() if spec.family == "fusion")


def _corners(case: Case) -> set[str]:
    weight, bias, _, variance, gain, shift = case.inputs
    assert weight is not None
    assert variance is not None
    conditions = {
        "no bias": bias is None,
        "no gain": gain is None,
        "no shift": shift is None,
        "transposed": bool(case.call.arguments.get("transpose", False)),
        "no variance": not variance.any(),
        "square": weight.shape[0] == weight.shape[1] > 1,
        "many": variance.size > 16,
        f"{weight.ndim} axes": True,
    }
    return {name for name, holds in conditions.items() if holds}


COMMON = {"no bias", "no variance", "square", "many", "2 axes"}
CONVOLUTION = {"no gain", "no shift", "transposed", "3 axes", "4 axes", "5 axes"}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_corner_is_drawn(layer: str) -> None:
    drawn = [_corners(case) for seed in range(2) for case in cases(layer, seed=seed)]
    assert set().union(*drawn) == (COMMON | CONVOLUTION if "conv" in layer else COMMON)


def _numbers(*values: float) -> Any:
    return exact_operand(np.array(values), FLOAT32)


def test_bounds_are_a_few_roundings_and_nan_reaches_its_output_alone() -> None:
    weight = exact_operand(np.array([[3.0], [np.nan]]), FLOAT32)
    mean, variance = _numbers(0.5, 0.5), _numbers(0.25, 0.25)
    fused, bias = fuse_conv_bn_weights({}, weight, None, mean, variance, bn_eps=0.75)
    assert fused.value[0] == 3
    assert 0 < fused.error[0, 0] < 8 * 2.0**-24 * 3
    assert np.isnan(fused.value[1])
    assert fused.error[1, 0] == 0
    assert bias.value.tolist() == [-0.5, -0.5]


def _case(name: str, weight: Any, **arguments: Any) -> Case:
    count = len(weight[0]) if arguments.get("transpose") else len(weight)
    ones = np.ones(count)
    inputs = (np.asarray(weight), None, ones, ones, None, None)
    return Case(Call(f"utils.{name}", {"bn_eps": 1e-5, **arguments}, {}, "float32", "cpu"), inputs)


def test_what_torch_has_no_default_for_is_told() -> None:
    case = _case("fuse_conv_bn_weights", [[1.0]])
    text = "utils.fuse_conv_bn_weights(conv_w, None, bn_rm, bn_rv, 1e-05, bn_w=None, bn_b=None) on"
    assert case_text(case).startswith(text)


def test_a_weight_is_turned_where_it_is_asked_for() -> None:
    spec = CATALOGUE["utils.fuse_conv_bn_weights"]
    turned = replace_argument(spec, _case("fuse_conv_bn_weights", [[1.0, 2.0]]), "transpose", True)
    assert turned is not None
    assert turned.inputs[0].shape == (2, 1)


def _wrong_backend(layer: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a function of which answers otherwise in some calls."""
    name = layer.rpartition(".")[2]
    original = getattr(utils, name)

    def wrong_function(weight: Any, *inputs: Any, **arguments: Any) -> Any:
        first, last = original(weight, *inputs, **arguments)
        if when(weight, *inputs, **arguments):
            ramp = torch.arange(first.numel()).reshape(first.shape).to(first.dtype)
            first, last = Parameter(first * 2 + 1 + ramp, False), Parameter(last * 2 + 1, False)
        return first, last

    nn = SimpleNamespace(utils=SimpleNamespace(**{name: wrong_function}))
    return ModuleBackend("fake", nn=nn, functional=torch.nn.functional)


def _always(*inputs: Any, **arguments: Any) -> bool:
    return True


FAKES: dict[str, Callable[..., bool]] = {
    "as before": _always,
    "scaled": _always,
    "rows": lambda weight, bias, mean, *others, **a: len(mean) > 33,
    "transposed": lambda *inputs, transpose=False, **a: transpose,
    "left out": lambda weight, bias, *others, **a: bias is None or a["bn_w"] is None
    or a["bn_b"] is None,
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    laws = {law.name for law in CATALOGUE[layer].laws}
    assert laws == set(FAKES) - ({"transposed"} if "linear" in layer else set())
    if name not in laws:
        return
    assert law_findings(_wrong_backend(layer, FAKES[name]), layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings
