"""`state` sees wrong names, shapes, initial values, modes and dropout; torch has one known flaw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from support import LAYERS, Search, SpoiledLayer, cases, first_failure
from torch import nn

from conformance.backends import FunctionBackend, ModuleBackend, implements
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.adapters.torch.meta import backend as meta_backend
from conformance.checks import state
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Case, Unsupported, is_function
from conformance.model.failure import Failure
from conformance.spec.state import (
    allowed_distance,
    cumulative_normal,
    cumulative_uniform,
    distribution_distance,
)

MODULES = [layer for layer in LAYERS if not is_function(layer)]
BUGS = [bug for bug in planted.BUGS if bug.check == "state" and not is_function(bug.layer)]


def _is_flawed_in_torch(case: Case) -> bool:
    """PyTorch #147389: in_channels stays 0 if a state was loaded before the first call."""
    return case.call.layer.startswith("LazyConv") and case.inputs[0].size == 0  # type: ignore[union-attr]


def _search(backend: Any, layer: str, check: str = "state", examples: int = 60) -> Search:
    """What `state` says of a layer, unless another check is named."""
    return first_failure(backend, layer, check, examples=examples)


def _backend(layer: str, implementation: Any) -> ModuleBackend:
    return ModuleBackend("bug", **replacement_namespaces(layer, implementation))


@pytest.mark.parametrize("layer", MODULES)
def test_torch_passes(layer: str) -> None:
    search = _search(torch_backend, layer, examples=12)
    assert search.passed, search


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_caught(bug: planted.Bug) -> None:
    assert _search(_backend(bug.layer, bug.implementation), bug.layer).failure, bug.story


def test_torch_forgets_in_channels_of_a_loaded_lazy_convolution() -> None:
    case = next(case for case in cases("LazyConv1d", "float32", 60) if _is_flawed_in_torch(case))
    with pytest.raises(Failure, match="attribute in_channels after a call\n  got    0"):
        state.check(Trial(torch_backend, CATALOGUE["LazyConv1d"], case))


@pytest.mark.parametrize("layer", MODULES)
def test_documented_names_and_shapes_are_those_of_the_cases(layer: str) -> None:
    for case in cases(layer, "float32", 30):
        assert case.inputs[0] is not None
        spec, state = CATALOGUE[layer], case.call.state
        shapes = spec.state_shapes(case.call.arguments, case.inputs[0].shape)
        # What the constructor takes it may be without.
        absent = set(spec.state.constructor_tensors) - set(state)
        shapes = {name: shape for name, shape in shapes.items() if name not in absent}
        assert list(shapes.items()) == [(k, v.shape) for k, v in state.items()]


def _linear_initialised_with(values: Any) -> type[nn.Linear]:
    class Linear(nn.Linear):
        def reset_parameters(self) -> None:
            for parameter in self.parameters():
                with torch.no_grad():
                    parameter.copy_(values(parameter, self.in_features))

    return Linear


INITIAL = {
    "normal": lambda p, n: torch.randn_like(p) / max(n, 1) ** 0.5,
    "zero bias": lambda p, n: (
        torch.zeros_like(p) if p.ndim == 1 else (torch.rand_like(p) * 2 - 1) / max(n, 1) ** 0.5
    ),
    "too narrow": lambda p, n: (torch.rand_like(p) - 0.5) / max(n, 1) ** 0.5,
    "positive": lambda p, n: torch.rand_like(p) / max(n, 1) ** 0.5,
    "not a number": lambda p, n: torch.full_like(p, torch.nan),
}


@pytest.mark.parametrize("kind", INITIAL)
def test_wrong_initial_values_are_noticed(kind: str) -> None:
    backend = _backend("Linear", _linear_initialised_with(INITIAL[kind]))
    assert "initial" in _search(backend, "Linear").message
    assert _search(backend, "Linear", "values").passed


def test_uniform_values_are_near_and_others_are_not() -> None:
    generator = np.random.default_rng(0)
    for size in (20, 100, 1000, 100000):
        values = generator.uniform(-1, 1, size)
        assert distribution_distance(values, cumulative_uniform) < allowed_distance(size)
        values = generator.standard_normal(size)
        assert distribution_distance(values, cumulative_normal) < allowed_distance(size)
    for wrong in (generator.uniform(-0.5, 0.5, 1000), np.abs(generator.uniform(-1, 1, 1000))):
        assert distribution_distance(wrong, cumulative_uniform) > allowed_distance(1000)
    wide = 3 * generator.standard_normal(1000)
    assert distribution_distance(wide, cumulative_normal) > allowed_distance(1000)


def _gru_with_dropout(function: Any) -> ModuleBackend:
    """GRU built of single layers, with another dropout between them."""

    class Gru(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            same_as_torch = not self.training or self.num_layers == 1 or self.dropout in (0, 1)
            if same_as_torch or not isinstance(input, torch.Tensor) or input.dim() == 2:
                return super().forward(input, hx)
            finals, x, width = [], input, 2 if self.bidirectional else 1
            for index in range(self.num_layers):
                sizes = (x.shape[-1], self.hidden_size, 1, self.bias, self.batch_first)
                layer = nn.GRU(*sizes, 0.0, self.bidirectional, dtype=x.dtype)
                parameters = dict(self.named_parameters())
                layer.load_state_dict(
                    {k: parameters[k.replace("_l0", f"_l{index}")] for k in layer.state_dict()}
                )
                initial = None if hx is None else hx[index * width : (index + 1) * width]
                x, final = layer(x, initial)
                finals.append(final)
                if index < self.num_layers - 1:
                    x = function(x, self.dropout)
            return x, torch.cat(finals)

    Gru.__name__ = "GRU"
    return _backend("GRU", Gru)


def _drop_same_over_time(x: Any, p: float) -> Any:
    mask = nn.functional.dropout(torch.ones_like(x[:1]), p)
    return x * mask


def _drop_same_in_each_call(x: Any, p: float) -> Any:
    numbers = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    return x * (numbers >= p).to(x.dtype) / (1 - p)


DROPOUTS = {
    "not scaled": (lambda x, p: nn.functional.dropout(x, p) * (1 - p), "each to be 0 or the kept"),
    "scaled by 1/p": (
        lambda x, p: nn.functional.dropout(x, p) * (1 - p) / p,
        "each to be 0 or the kept",
    ),
    "keeps p": (
        lambda x, p: nn.functional.dropout(x, 1 - p) * p / (1 - p),
        "kept in train mode with",
    ),
    "same over time": (_drop_same_over_time, "drops the same elements along axis"),
    "same in each call": (_drop_same_in_each_call, "drops the same elements in a second call"),
}


@pytest.mark.parametrize("kind", DROPOUTS)
def test_wrong_dropout_is_noticed(kind: str) -> None:
    function, text = DROPOUTS[kind]
    backend = _gru_with_dropout(function)
    assert text in _search(backend, "GRU", "random", examples=120).message
    assert _search(backend, "GRU", "values", examples=30).passed


def test_faithful_dropout_built_of_layers_passes() -> None:
    search = _search(_gru_with_dropout(nn.functional.dropout), "GRU", "random", examples=40)
    assert search.passed, search


class _Bare(FunctionBackend):
    name = "bare"

    @implements("Linear", ignores=("in_features", "out_features", "bias"))
    def linear(self, state: Mapping[str, Any], input: Any) -> Any:
        return input @ state["weight"].T + state.get("bias", 0)


class _NothingOffered(SpoiledLayer):
    def __getattr__(self, name: str) -> Any:
        if name in state.OFFERS:
            raise AttributeError(name)
        return super().__getattr__(name)


class _Silent(ModuleBackend):
    def build(self, call: Any) -> Any:
        return _NothingOffered(super().build(call), lambda output, inputs: output)


def test_a_backend_without_an_initialisation_of_its_own_is_checked_after_load() -> None:
    case = cases("Linear", "float64", 5)[0]
    assert state.check(Trial(_Bare(), CATALOGUE["Linear"], case)).comparisons > 0
    search = first_failure(_Bare(), "Linear", "state", "float64", examples=20)
    assert search.passed, search


def test_what_is_not_offered_is_unsupported() -> None:
    case = cases("Linear", "float32", 5)[0]
    with pytest.raises(Unsupported, match="state not offered"):
        state.check(Trial(_Silent("silent"), CATALOGUE["Linear"], case))


def test_a_device_without_values_has_names_and_shapes() -> None:
    for case in cases("Linear", "float32", 5):
        placed = replace(case, call=replace(case.call, device="meta"))
        assert state.check(Trial(meta_backend, CATALOGUE["Linear"], placed)).comparisons > 0
