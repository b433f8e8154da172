"""Flatten, Unflatten and the shuffle of channels: what is drawn, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE

SHUFFLE = "functional.channel_shuffle"


def test_every_range_of_axes_is_drawn() -> None:
    forms: set[Any] = set()
    for case in cases("Flatten"):
        (x,), arguments = case.inputs, case.call.arguments
        assert x is not None
        axes = max(x.ndim, 1)
        start, end = arguments.get("start_dim", 1), arguments.get("end_dim", -1)
        forms |= {f"rank {x.ndim}", f"{len(arguments)} written", case.labels["profile"]}
        forms |= {name for name, k in (("start", start), ("end", end)) if k < 0}
        forms |= {"one axis"} if start % axes == end % axes else {"several"}
        forms |= {"before"} if start % axes else set()
        forms |= {"behind"} if end % axes < axes - 1 else set()
        forms |= {"empty"} if not x.size else set()
    assert forms >= {f"rank {k}" for k in range(6)} | {f"{k} written" for k in range(3)}
    assert forms >= {"start", "end", "one axis", "several", "before", "behind", "empty", "integer"}


def test_every_form_of_sizes_is_drawn() -> None:
    forms: set[Any] = set()
    for case in cases("Unflatten"):
        sizes, dim = case.call.arguments["unflattened_size"], case.call.arguments["dim"]
        forms |= {
            type(sizes).__name__,
            f"{len(sizes)} sizes",
            "negative" if dim < 0 else "positive",
        }
        forms |= {f"inferred at {list(sizes).index(-1)}"} if -1 in sizes else {"all given"}
        forms |= {"zero"} if 0 in sizes else set()
    assert forms >= {"tuple", "list", "negative", "positive", "all given", "zero"}
    assert forms >= {f"{k} sizes" for k in range(1, 5)} | {f"inferred at {k}" for k in range(4)}


def _wrong_module_backend(name: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a module of which answers otherwise in some calls."""

    def forward(self: Any, input: torch.Tensor) -> Any:
        output = getattr(nn, name).forward(self, input)
        return output + 1 if when(self, input) else output

    wrong_class = type(name, (getattr(nn, name),), {"forward": forward})
    names = ("Flatten", "Unflatten", "ChannelShuffle")
    namespace = SimpleNamespace(**{**{n: getattr(nn, n) for n in names}, name: wrong_class})
    return ModuleBackend("fake", nn=namespace, functional=functional)


def _wrong_function_backend(when: Callable[..., bool]) -> ModuleBackend:
    def wrong(input: torch.Tensor, groups: int) -> Any:
        output = functional.channel_shuffle(input, groups)
        return output + 1 if when(input, groups) else output

    names = ("channel_shuffle", "native_channel_shuffle")
    namespace = {name: getattr(functional, name) for name in names} | {"channel_shuffle": wrong}
    return ModuleBackend("fake", nn=nn, functional=SimpleNamespace(**namespace))


FAKES = {
    ("Flatten", "rows"): _wrong_module_backend(
        "Flatten", lambda m, x: x.dim() > 0 and 16 < len(x) < 66
    ),
    ("Flatten", "ends"): _wrong_module_backend("Flatten", lambda m, x: m.end_dim >= 0),
    ("Flatten", "again"): _wrong_module_backend("Flatten", lambda m, x: m.start_dim == m.end_dim),
    ("Flatten", "pairs"): _wrong_module_backend(
        "Flatten", lambda m, x: m.end_dim - m.start_dim == 1
    ),
    ("Flatten", "undone"): _wrong_module_backend("Unflatten", lambda m, x: True),
    ("Unflatten", "rows"): _wrong_module_backend("Unflatten", lambda m, x: 16 < len(x) < 66),
    ("Unflatten", "axis"): _wrong_module_backend("Unflatten", lambda m, x: m.dim < 0),
    ("Unflatten", "inferred"): _wrong_module_backend(
        "Unflatten", lambda m, x: -1 in m.unflattened_size
    ),
    ("Unflatten", "flattened"): _wrong_module_backend("Flatten", lambda m, x: True),
    (SHUFFLE, "rows"): _wrong_function_backend(lambda x, groups: 16 < len(x) < 66),
    (SHUFFLE, "form"): _wrong_function_backend(lambda x, groups: True),
    (SHUFFLE, "dealt"): _wrong_function_backend(lambda x, groups: groups == 1),
    (SHUFFLE, "places"): _wrong_function_backend(lambda x, groups: x.shape[-1] > 16),
}


@pytest.mark.parametrize(("layer", "name"), FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    laws = {law.name for law in CATALOGUE[layer].laws}
    assert {law for other, law in FAKES if other == layer} == laws
    assert law_findings(FAKES[layer, name], layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


def test_a_shuffle_is_that_of_the_documentation() -> None:
    x = torch.arange(1.0, 17.0).reshape(1, 4, 2, 2)
    wanted = x[:, [0, 2, 1, 3]]
    for name in ("channel_shuffle", "native_channel_shuffle"):
        assert torch.equal(getattr(functional, name)(x, 2), wanted)
