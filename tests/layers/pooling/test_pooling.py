"""Pooling: what is drawn, ties, gradients at ties, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.strategies.pooling import maximum as pooling
from support import cases, law_findings
from torch import nn

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import values
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.model.failure import Failure
from conformance.model.formats import round_to
from conformance.oracles.convolution import per_dimension
from conformance.oracles.pooling.maximum import max_pool2d
from conformance.oracles.pooling.windows import Window

LAYERS = tuple(
    f"{form}{dims}d" for form in ("MaxPool", "functional.max_pool") for dims in (1, 2, 3)
)
FLOAT32 = Precision.of("float32")


def _corners(case: Case) -> set[str]:
    arguments, (x,) = case.call.arguments, case.inputs
    dims = CATALOGUE[case.call.layer].signature.dims
    defaults = {"kernel_size": 1, "padding": 0, "dilation": 1}
    per_axis = {
        name: per_dimension(arguments.get(name, default), dims)
        for name, default in defaults.items()
    }
    kernel, padding, dilation = per_axis.values()
    stride = kernel if arguments.get("stride") is None else per_dimension(arguments["stride"], dims)
    ceil = arguments.get("ceil_mode", False)
    rows = list(zip(x.shape[-dims:], kernel, stride, padding, dilation, strict=True))
    windows = [Window(*row, ceil) for row in rows]
    reaches = [d * (k - 1) + 1 for _, k, _, _, d in rows]
    conditions = {
        "unbatched": x.ndim == dims + 1,
        "empty": x.shape[0] == 0,
        "indices": arguments.get("return_indices", False),
        "ceil": ceil,
        "padded": max(padding) > 0,
        "dilated": max(dilation) > 1,
        "stride beyond the kernel": any(s > k for k, s in zip(kernel, stride, strict=True)),
        "overlapping": any(s < k for k, s in zip(kernel, stride, strict=True)),
        "asymmetric": any(isinstance(v, tuple) and len(set(v)) > 1 for v in arguments.values()),
        "long": max(kernel) > 16,
        "many channels": x.shape[-dims - 1] > 31,
        "shorter than the window": any(
            n < r for n, r in zip(x.shape[-dims:], reaches, strict=True)
        ),
        "off-bounds": any(
            (w.outputs - 1) * w.stride + r > w.length + 2 * w.padding
            for w, r in zip(windows, reaches, strict=True)
        ),
        "window dropped": ceil
        and any(
            -(-(w.length + 2 * w.padding - r) // w.stride) + 1 > w.outputs
            for w, r in zip(windows, reaches, strict=True)
        ),
        "hopping": any(
            ((w.positions < 0) | (w.positions >= w.length)).all(1).any() for w in windows
        ),
    }
    return {name for name, holds in conditions.items() if holds} | {case.labels["regime"]}


EVERY = {
    *("unbatched", "empty", "indices", "ceil", "padded", "dilated", "stride beyond the kernel"),
    *("overlapping", "asymmetric", "long", "many channels", "shorter than the window"),
    *("off-bounds", "window dropped", "hopping"),
    *(
        "ramp",
        "integers",
        "full",
        "normal",
        "mixed",
        "large",
        "subnormal",
        "apart",
        "whole",
        "endless",
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_corner_is_drawn(layer: str, dtype: str) -> None:
    never_drawn = {"asymmetric"} if CATALOGUE[layer].signature.dims == 1 else set()
    assert set().union(*map(_corners, cases(layer, dtype))) == EVERY - never_drawn


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_apart_of_a_large_plane_are_in_the_format(dtype: str) -> None:
    numbers = pooling._distinct_numbers((1, 9, 493), 1, 0, dtype)
    assert (round_to(numbers, dtype) == numbers).all()
    assert len(np.unique(numbers)) == numbers.size


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_apart_are_apart(dtype: str) -> None:
    planes = 0
    for case in cases("MaxPool2d", dtype):
        (x,) = case.inputs
        if case.labels["regime"] == "apart" and x.size:
            for plane in x.reshape(-1, x.shape[-2] * x.shape[-1]):
                assert len(set(plane)) == len(plane)
                planes += 1
    assert planes > 10


def _max_pool(x: Any, **arguments: Any) -> Any:
    return max_pool2d({}, exact_operand(np.array(x), FLOAT32), return_indices=True, **arguments)


def test_any_index_of_a_largest_element_is_right_and_no_other() -> None:
    _, indices = _max_pool([[[1.0, 3.0, 3.0, 2.0]]], kernel_size=(1, 4))
    assert isinstance(indices, Choices)
    for index, right in ((0, False), (1, True), (2, True), (3, False)):
        got = np.array([[[index]]])
        if right:
            values.compare("indices", got, indices)
        else:
            with pytest.raises(Failure, match="wanted 1 or 2"):
                values.compare("indices", got, indices)


def test_nan_is_the_largest_and_a_window_of_minus_infinity_has_an_index() -> None:
    value, index = _max_pool([[[1.0, np.nan], [-np.inf, -np.inf]]], kernel_size=(1, 2))
    assert np.isnan(value.value[0, 0, 0])
    assert value.value[0, 1, 0] == -np.inf
    assert [int(x.value[0, 0, 0]) for x in index.alternatives] == [1, 1]
    assert [int(x.value[0, 1, 0]) for x in index.alternatives] == [2, 3]


def test_whole_numbers_are_as_they_are() -> None:
    value, index = _max_pool(
        np.array([[[2**62 + 1, 2**62, -(2**62), -(2**62) - 1]]]), kernel_size=(1, 2)
    )
    assert value.value.tolist() == [[[2**62 + 1, -(2**62)]]]
    assert index.value.tolist() == [[[0, 2]]]


def test_the_length_with_ceil_mode_is_not_that_of_the_page_of_max_pool1d() -> None:
    assert Window(3, kernel=3, stride=2, padding=0, dilation=1, ceil=True).outputs == 1
    assert nn.MaxPool1d(3, 2, ceil_mode=True)(torch.zeros(1, 3)).shape == (1, 1)


def test_of_a_window_that_hops_over_the_input_the_value_is_known_only() -> None:
    value, index = _max_pool([[[5.0]]], kernel_size=2, padding=1, dilation=2)
    assert value.value == -np.inf
    assert value.decided.all()
    assert not index.decided.any()


def test_a_gradient_goes_to_the_largest_or_anywhere_among_the_largest() -> None:
    x = leaf(np.array([[[4.0, 1.0, 2.0, 2.0]]]), FLOAT32)
    (y,) = max_pool2d({}, x, kernel_size=(1, 2))
    (gradient,) = pull_back([y], [exact_operand(np.array([[[3.0, 5.0]]]), FLOAT32)], [x])
    assert (gradient.value == [3.0, 0.0, 2.5, 2.5]).all()
    assert (gradient.error == [0.0, 0.0, 2.5, 2.5]).all()


def _wrong_backend(when: Callable[[Any, torch.Tensor], bool], change: Callable[[Any], Any]) -> Any:
    """A backend whose module's values are changed in some calls."""

    class Wrong(nn.MaxPool2d):
        def forward(self, input: torch.Tensor) -> Any:
            result = super().forward(input)
            if not when(self, input):
                return result
            return (change(result[0]), result[1]) if self.return_indices else change(result)

    Wrong.__name__ = "MaxPool2d"
    namespace = SimpleNamespace(max_pool2d=nn.functional.max_pool2d)
    return ModuleBackend("wrong", nn=SimpleNamespace(MaxPool2d=Wrong), functional=namespace)


def _wrong_indices_backend() -> Any:
    class Wrong(nn.MaxPool2d):
        def forward(self, input: torch.Tensor) -> Any:
            result = super().forward(input)
            return (result[0], result[1] + 1) if self.return_indices else result

    return ModuleBackend("wrong", nn=SimpleNamespace(MaxPool2d=Wrong))


def _change_numbers(y: torch.Tensor) -> torch.Tensor:
    return y * 2 + 1


def _double_gradient(y: torch.Tensor) -> torch.Tensor:
    """The same numbers, whose gradient is doubled."""
    return y + torch.where(y.isfinite(), y - y.detach(), torch.zeros_like(y))


FAKES = {
    "rows": _wrong_backend(lambda m, x: x.shape[-3] > 33, _change_numbers),
    "singles": _wrong_backend(lambda m, x: x.dim() == 3, _change_numbers),
    "function": _wrong_backend(lambda m, x: True, _change_numbers),
    "stride": _wrong_backend(lambda m, x: m.stride == 1, _change_numbers),
    "padding": _wrong_backend(lambda m, x: m.padding == 0 and not m.ceil_mode, _change_numbers),
    "apart": _wrong_backend(lambda m, x: per_dimension(m.kernel_size, 2)[0] == 1, _change_numbers),
    "indices": _wrong_indices_backend(),
    "mirrored": _wrong_backend(lambda m, x: True, lambda y: y + torch.arange(y.shape[-1])),
    "scaled": _wrong_backend(lambda m, x: True, lambda y: y + 1),
    "whole": _wrong_backend(lambda m, x: True, _double_gradient),
}  # fmt: skip


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert set(FAKES) == {law.name for law in CATALOGUE["MaxPool2d"].laws}
    assert law_findings(FAKES[name], "MaxPool2d", name)[1]
    compared, findings = law_findings(torch_backend, "MaxPool2d", name)
    assert compared
    assert not findings
