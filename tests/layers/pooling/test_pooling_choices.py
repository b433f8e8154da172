"""Fractional pooling and the inverse of pooling: what is drawn, right answers, each law failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.oracles.pooling.fractional import fractional_max_pool2d, window_starts
from conformance.oracles.pooling.inverse import max_unpool1d

FLOAT32 = Precision.of("float32")


def _has_repeated_index(case: Case) -> bool:
    """Whether an index is there twice in a plane."""
    index, dims = case.inputs[1], CATALOGUE[case.call.layer].signature.dims
    assert index is not None
    planes = index.reshape(-1, int(np.prod(index.shape[-dims:])))
    return any(len(set(plane)) < len(plane) for plane in planes)


@pytest.mark.parametrize(
    "layer", [f"{form}{k}d" for form in ("MaxUnpool", "functional.max_unpool") for k in (1, 2, 3)]
)
def test_every_corner_of_the_inverse_is_drawn(layer: str) -> None:
    drawn, dims = cases(layer), CATALOGUE[layer].signature.dims
    sizes = [c.call.arguments.get("output_size", c.keywords.get("output_size")) for c in drawn]
    assert {None if size is None else len(size) - dims for size in sizes} == {None, 0, 2}
    for name in ("stride", "padding"):
        assert any(c.call.arguments.get(name) for c in drawn)
    assert {_has_repeated_index(c) for c in drawn} == {True, False}
    assert {c.inputs[0].ndim - dims for c in drawn} == {1, 2}
    assert any(not c.inputs[0].size for c in drawn)
    assert any(c.inputs[0].shape[-dims - 1] > 31 for c in drawn)


@pytest.mark.parametrize(
    "layer",
    [f"{form}{k}d" for form in ("FractionalMaxPool", "functional.fractional_max_pool")
     for k in (2, 3)],
)  # fmt: skip
def test_every_corner_of_fractional_pooling_is_drawn(layer: str) -> None:
    drawn, dims = cases(layer), CATALOGUE[layer].signature.dims
    arguments = [c.call.arguments for c in drawn]
    assert {type(a[name]) for a in arguments for name in a if name != "return_indices"} == {
        int,
        float,
        tuple,
    }
    assert {a.get("return_indices", False) for a in arguments} == {True, False}
    assert {c.inputs[0].ndim - dims for c in drawn} == {1, 2}
    assert any(not c.inputs[0].size for c in drawn)
    assert {c.labels["profile"] for c in drawn} == {"tight", "loose", "ratio", "one", "wide"}


def test_of_a_repeated_index_either_element_is_right() -> None:
    x = exact_operand(np.array([[1.0, 2.0, 3.0]]), FLOAT32)
    index = exact_operand(np.array([[2, 0, 2]]), FLOAT32)
    y = max_unpool1d({}, x, index, kernel_size=1)
    assert isinstance(y, Choices)
    assert {tuple(way.value[0]) for way in y.alternatives} == {(2, 0, 1), (2, 0, 3)}


def test_windows_begin_at_either_side_of_their_share() -> None:
    early, late = window_starts(7, 4, 2)
    assert early.tolist() == [0, 1, 3, 5]
    assert late.tolist() == [0, 2, 4, 5]
    (only,) = window_starts(5, 4, 2)
    assert only.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("u", [0.0, 0.1, 0.5, 0.75, 0.999])
def test_torchs_windows_are_among_those(u: float) -> None:
    x = np.random.default_rng(0).permutation(63).reshape(1, 1, 7, 9).astype(float)
    samples = torch.full((1, 1, 2), u, dtype=torch.float64)
    got, index = torch.nn.functional.fractional_max_pool2d(
        torch.from_numpy(x), 2, (4, 4), None, True, samples
    )
    wanted = fractional_max_pool2d(
        {}, exact_operand(x, FLOAT32), kernel_size=2, output_size=(4, 4), return_indices=True
    )
    for answer, ways in zip((got, index), wanted, strict=True):
        assert isinstance(ways, Choices)
        numbers = answer.numpy().astype(float)
        assert (ways.nearest(numbers).value == numbers).all()


def test_a_gradient_is_certain_where_every_window_has_the_same_largest_element() -> None:
    x = leaf(np.array([[[9.0, 1.0, 2.0, 3.0, 8.0]]]), FLOAT32)
    y, *_ = fractional_max_pool2d({}, x, kernel_size=(1, 2), output_size=(1, 3))
    y = y.alternatives[0] if isinstance(y, Choices) else y
    (gradient,) = pull_back([y], [exact_operand(np.ones((1, 1, 3)), FLOAT32)], [x])
    assert gradient.value[0, 0, 0] == 1
    assert gradient.error[0, 0, 0] == 0
    assert gradient.value[0, 0, 4] == 1
    assert gradient.error[0, 0, 3] == pytest.approx(1)  # a window may begin at 2


def _always(m: Any, x: torch.Tensor) -> bool:
    return True


def _wrong_backend(module: str, when: Callable[[Any, torch.Tensor], bool], change: Any) -> Any:
    """A backend whose module's values are changed in some calls; all other layers are torch's."""
    original: Any = getattr(nn, module)

    class Wrong(original):
        def forward(self, input: torch.Tensor, *arguments: Any, **options: Any) -> Any:
            result = super().forward(input, *arguments, **options)
            if not when(self, input):
                return result
            if isinstance(result, tuple):
                return change(result[0]), result[1]
            return change(result)

    Wrong.__name__ = module
    others = {name: getattr(nn, name) for name in dir(nn) if "ool" in name}
    namespace = SimpleNamespace(**{**others, module: Wrong})
    return ModuleBackend("wrong", nn=namespace, functional=nn.functional)


def _wrong_size_backend(module: str) -> Any:
    """A backend whose inverse is another one where the size is given."""
    original: Any = getattr(nn, module)

    class Wrong(original):
        def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
            result = super().forward(input, indices, output_size)
            return result if output_size is None else result + 1

    Wrong.__name__ = module
    return ModuleBackend("wrong", nn=SimpleNamespace(**{module: Wrong}))


def _change_numbers(y: torch.Tensor) -> torch.Tensor:
    return y * 2 + 1


FAKES: dict[str, tuple[Callable[[Any, torch.Tensor], bool], Any]] = {
    "rows": (lambda m, x: x.shape[-3] > 33, _change_numbers),
    "singles": (lambda m, x: x.dim() == 3, _change_numbers),
    "scaled": (_always, lambda y: y + 1),
}
MODULES = ("MaxUnpool2d", "FractionalMaxPool2d")


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, law.name) for module in MODULES for law in CATALOGUE[module].laws],
)
def test_each_law_is_seen_failing(module: str, name: str) -> None:
    backend = (
        _wrong_size_backend(module)
        if name == "size"
        else _wrong_backend(module, *FAKES.get(name, (_always, _change_numbers)))
    )
    assert law_findings(backend, module, name)[1]
    compared, findings = law_findings(torch_backend, module, name)
    assert compared
    assert not findings
