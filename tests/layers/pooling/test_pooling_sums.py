"""Pooling by average, by the p-norm, and adaptive pooling: what is drawn, and each law failing."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.oracles.convolution import per_dimension
from conformance.oracles.pooling.adaptive import adaptive_avg_pool1d, regions
from conformance.oracles.pooling.average import avg_pool1d
from conformance.oracles.pooling.norm import lp_pool1d
from conformance.oracles.pooling.windows import Window

FLOAT32, BFLOAT16 = Precision.of("float32"), Precision.of("bfloat16")


def _layer_names(module: str, function: str) -> list[str]:
    return [f"{form}{dims}d" for form in (module, f"functional.{function}") for dims in (1, 2, 3)]


def _windows_of_case(case: Case, dims: int) -> list[Window]:
    arguments, x = case.call.arguments, case.inputs[0]
    assert x is not None
    kernel = per_dimension(arguments["kernel_size"], dims)
    stride = kernel if arguments.get("stride") is None else per_dimension(arguments["stride"], dims)
    padding = per_dimension(arguments.get("padding", 0), dims)
    rows = zip(x.shape[-dims:], kernel, stride, padding, strict=True)
    return [Window(*row, 1, arguments.get("ceil_mode", False)) for row in rows]


def _window_corners(case: Case) -> set[str]:
    arguments, x = case.call.arguments, case.inputs[0]
    assert x is not None
    dims = CATALOGUE[case.call.layer].signature.dims
    conditions = {
        "unbatched": x.ndim == dims + 1,
        "empty": x.shape[0] == 0,
        "padded": max(per_dimension(arguments.get("padding", 0), dims)) > 0,
        "padding does not count": not arguments.get("count_include_pad", True),
        "divisor": arguments.get("divisor_override") is not None,
        "negative divisor": (arguments.get("divisor_override") or 0) < 0,
        "off-bounds": any(
            (w.outputs - 1) * w.stride + w.kernel > w.length + 2 * w.padding
            for w in _windows_of_case(case, dims)
        ),
        "shorter than the window": any(w.length < w.kernel for w in _windows_of_case(case, dims)),
        "long": max(per_dimension(arguments["kernel_size"], dims)) > 16,
    }
    return {name for name, holds in conditions.items() if holds} | {case.labels["regime"]}


REGIMES = {"ramp", "integers", "full", "normal", "mixed", "large", "subnormal", "outliers", "ones"}
COMMON_CORNERS = REGIMES | {"unbatched", "empty", "off-bounds", "shorter than the window", "long"}


@pytest.mark.parametrize("layer", _layer_names("AvgPool", "avg_pool"))
def test_every_corner_of_averages_is_drawn(layer: str) -> None:
    divisor_corners = (
        {"divisor", "negative divisor"} if CATALOGUE[layer].signature.dims > 1 else set()
    )
    wanted = COMMON_CORNERS | {"padded", "padding does not count"} | divisor_corners
    assert set().union(*map(_window_corners, cases(layer))) == wanted


@pytest.mark.parametrize("layer", _layer_names("LPPool", "lp_pool"))
def test_every_corner_of_norms_is_drawn(layer: str) -> None:
    drawn = cases(layer)
    assert set().union(*map(_window_corners, drawn)) == COMMON_CORNERS | {"gaps"}
    assert {c.call.arguments["norm_type"] for c in drawn} == {1, 2, 3, 4, 0.5, 1.5, math.inf}
    assert any(c.call.arguments["norm_type"] == 3 and (c.inputs[0] < 0).any() for c in drawn)


def _region_corners(case: Case) -> set[str]:
    x, size = case.inputs[0], case.call.arguments["output_size"]
    assert x is not None
    dims = CATALOGUE[case.call.layer].signature.dims
    sizes = size if isinstance(size, tuple) else (size,) * dims
    pairs = [(n, n if s is None else s) for n, s in zip(x.shape[-dims:], sizes, strict=True)]
    conditions = {
        "unbatched": x.ndim == dims + 1,
        "empty": x.shape[0] == 0,
        "kept": None in sizes,
        "none": 0 in sizes,
        "one": all(s == 1 for s in sizes),
        "as many": any(n == s for n, s in pairs),
        "more": any(n < s for n, s in pairs),
        "uneven": any(s and n % s for n, s in pairs),
        "long": any(n > 256 for n, _ in pairs),
        "many channels": x.shape[-dims - 1] > 31,
    }
    return {name for name, holds in conditions.items() if holds}


ADAPTIVE = (
    *_layer_names("AdaptiveAvgPool", "adaptive_avg_pool"),
    *_layer_names("AdaptiveMaxPool", "adaptive_max_pool"),
)


@pytest.mark.parametrize("layer", ADAPTIVE)
def test_every_corner_of_adaptive_pooling_is_drawn(layer: str) -> None:
    wanted = {"unbatched", "empty", "none", "one", "as many", "more", "uneven", "long"}
    wanted |= {"many channels"} | ({"kept"} if CATALOGUE[layer].signature.dims > 1 else set())
    assert set().union(*map(_region_corners, cases(layer))) == wanted


def test_regions_overlap_where_the_output_does_not_divide_the_input() -> None:
    places, inside = regions(5, 3)
    assert [list(row[some]) for row, some in zip(places, inside, strict=True)] == [
        [0, 1],
        [1, 2, 3],
        [3, 4],
    ]


def test_an_average_that_half_precision_cannot_count_is_exact() -> None:
    ones = exact_operand(np.ones((1, 1, 4096)), BFLOAT16)
    for y in (
        adaptive_avg_pool1d({}, ones, output_size=1),
        avg_pool1d({}, ones, kernel_size=4096),
    ):
        assert y.value == 1
        assert y.error == 0


def test_what_goes_off_bounds_is_no_padding() -> None:
    x = exact_operand(np.array([[[1.0, 2.0, 4.0]]]), FLOAT32)
    y = avg_pool1d({}, x, kernel_size=2, padding=1, stride=3, ceil_mode=True)
    assert y.value.tolist() == [[[0.5, 2.0]]]
    y = avg_pool1d({}, x, kernel_size=2, ceil_mode=True)
    assert y.value.tolist() == [[[1.5, 4.0]]]


def test_the_gradient_of_a_norm_is_0_where_the_sum_is() -> None:
    for p, wanted in ((1, [0.0, 0.0, 1.0, 1.0]), (2, [-0.7071, 0.7071, 0.0, 0.0])):
        x = leaf(np.array([[[-1.0, 1.0, 2.0, 3.0]]]), FLOAT32)
        if p == 2:
            x = leaf(np.array([[[-1.0, 1.0, 0.0, 0.0]]]), FLOAT32)
        y = lp_pool1d({}, x, norm_type=p, kernel_size=2)
        (gradient,) = pull_back([y], [exact_operand(np.ones((1, 1, 2)), FLOAT32)], [x])
        assert np.allclose(gradient.value, wanted, atol=1e-4)


def test_a_cube_root_has_a_sign() -> None:
    x = exact_operand(np.array([[[-1.0, -1.0, 1.0, -1.0]]]), FLOAT32)
    y = lp_pool1d({}, x, norm_type=3, kernel_size=2)
    assert np.allclose(y.value, [[[-(2 ** (1 / 3)), 0.0]]])


def _always(m: Any, x: torch.Tensor) -> bool:
    return True


def _change_numbers(y: torch.Tensor) -> torch.Tensor:
    return y * 2 + 1


def _add_ramp(y: torch.Tensor) -> torch.Tensor:
    return y + torch.arange(y.shape[-1])


def _wrong_backend(module: str, when: Callable[[Any, torch.Tensor], bool], change: Any) -> Any:
    """A backend whose module's values are changed in some calls; all other layers are torch's."""
    original: Any = getattr(nn, module)

    class Wrong(original):
        def forward(self, input: torch.Tensor) -> Any:
            result = super().forward(input)
            if not when(self, input):
                return result
            if isinstance(result, tuple):
                return change(result[0]), result[1]
            return change(result)

    Wrong.__name__ = module
    others = {name: getattr(nn, name) for name in dir(nn) if "Pool" in name}
    namespace = SimpleNamespace(**{**others, module: Wrong})
    return ModuleBackend("wrong", nn=namespace, functional=nn.functional)


def _wrong_indices_backend(module: str) -> Any:
    original: Any = getattr(nn, module)

    class Wrong(original):
        def forward(self, input: torch.Tensor) -> Any:
            result = super().forward(input)
            return (result[0], result[1] + 1) if isinstance(result, tuple) else result

    Wrong.__name__ = module
    return ModuleBackend("wrong", nn=SimpleNamespace(**{module: Wrong}))


# Laws that a change of every answer breaks need no more.
FAKES: dict[str, tuple[Callable[[Any, torch.Tensor], bool], Any]] = {
    "rows": (lambda m, x: x.shape[-3] > 33, _change_numbers),
    "singles": (lambda m, x: x.dim() == 3, _change_numbers),
    "stride": (lambda m, x: m.stride == 1, _change_numbers),
    "padding": (lambda m, x: m.padding == 0, _change_numbers),
    "mirrored": (_always, _add_ramp),
    "scaled": (_always, lambda y: y + 1),
    "signs": (lambda m, x: bool((x < 0).any()), _change_numbers),
}
MODULES = ("AvgPool2d", "LPPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d")


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, law.name) for module in MODULES for law in CATALOGUE[module].laws],
)
def test_each_law_is_seen_failing(module: str, name: str) -> None:
    backend = (
        _wrong_indices_backend(module)
        if name == "indices"
        else _wrong_backend(module, *FAKES.get(name, (_always, _change_numbers)))
    )
    assert law_findings(backend, module, name)[1]
    compared, findings = law_findings(torch_backend, module, name)
    assert compared
    known = ("smaller than kernel size", "nan")  # listed among torch's known failures
    assert not [text for text in findings if not any(word in text for word in known)]
