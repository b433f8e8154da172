"""Shared by test modules: backends that spoil torch's answers, and running checks on them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from conformance.backends import ModuleBackend
from conformance.backends.declared import numerics_of
from conformance.backends.torch import backend as torch_backend
from conformance.case import Call, Case, Unsupported
from conformance.catalogue import CATALOGUE
from conformance.drawing import draw_cases
from conformance.engine import Engine
from conformance.items import Item
from conformance.known import shipped
from conformance.trial import Failure, Inapplicable

LAYERS = tuple(CATALOGUE)


@lru_cache(maxsize=256)
def cases(
    layer: str, dtype: str = "float32", examples: int = 200, seed: int = 0
) -> tuple[Case, ...]:
    """The suite's own cases, kept between tests."""
    return draw_cases(layer, dtype, examples, seed)


def first_failure(
    backend: Any, layer: str, check: str, dtype: str = "float32", examples: int = 200, seed: int = 0
) -> tuple[int, Failure] | None:
    """Index and failure of the first case that a check fails on, without shrinking."""
    engine = Engine(backend, examples, seed)
    item = Item(layer, check, dtype, "cpu")
    numerics = numerics_of(backend, dtype)
    for index, case in enumerate(cases(layer, dtype, examples, seed)):
        if any(entry.covers(case) for entry in known(layer, check, dtype)):
            continue
        try:
            engine.try_case(item, case, numerics)
        except (Unsupported, Inapplicable):
            continue
        except Failure as failure:
            return index, failure
    return None


@lru_cache
def known(layer: str, check: str, dtype: str) -> tuple[Any, ...]:
    """torch's own known failures of an item."""
    item = {"layer": layer, "check": check, "dtype": dtype, "device": "cpu"}
    return tuple(entry for entry in shipped("torch") if entry.applies(**item, backend="torch"))


def plug_in(pytester: Any, monkeypatch: Any, backends: str) -> None:
    """A module `plugged` for sessions of pytest, without the options of this one."""
    for name in [name for name in os.environ if name.startswith(("CONFORMANCE_", "PYTEST_"))]:
        monkeypatch.delenv(name)
    pytester.makepyfile(plugged=backends)
    # What this session imports conformance from, that one must, too.
    paths = [str(pytester.path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


class SpoiledLayer:
    """torch's layer with its outputs, its inputs or its answers tampered with."""

    def __init__(self, layer: Any, spoil: Callable[..., Any]) -> None:
        self._layer, self._spoil = layer, spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        outputs = self._layer(*inputs, **keywords)
        several = isinstance(outputs, tuple)
        spoiled = tuple(self._spoil(y, inputs) for y in (outputs if several else (outputs,)))
        return spoiled if several else spoiled[0]


class Spoiled:
    """The torch backend with every output replaced by `spoil(output, inputs)`."""

    def __init__(self, name: str, spoil: Callable[..., Any]) -> None:
        self.name, self._spoil = name, spoil

    def info(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def devices(self) -> list[str]:
        """The CPU."""
        return ["cpu"]

    def numerics(self, dtype: str) -> Any:
        """torch's own."""
        return torch_backend.numerics(dtype)

    def build(self, call: Call) -> SpoiledLayer:
        """torch's layer, spoiled."""
        return SpoiledLayer(torch_backend.build(call), self._spoil)


class MetaBackend(ModuleBackend):
    """torch on its device without values."""

    def devices(self) -> list[str]:
        """The meta device only."""
        return ["meta"]


meta_backend = MetaBackend("meta")
