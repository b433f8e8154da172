"""The cases of a layer and dtype are kept while its checks run, and no longer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conformance import Unsupported
from conformance.backends import ModuleBackend
from conformance.generation import drawing
from conformance.generation.cache import CacheOfOneLayer
from conformance.items.planning import Item
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork


def test_results_are_kept_until_another_layer_or_dtype_is_asked_for() -> None:
    calls: list[tuple[Any, ...]] = []

    @CacheOfOneLayer
    def make(layer: str, dtype: str, round: int) -> int:
        calls.append((layer, dtype, round))
        return len(calls)

    assert [make("A", "float32", k) for k in (0, 1, 2, 0, 1, 2)] == [1, 2, 3, 1, 2, 3]
    make("A", "float64", 0)
    make("A", "float32", 0)
    assert calls[3:] == [("A", "float64", 0), ("A", "float32", 0)]


class Choosy(torch.nn.Linear):
    """Accepts only calls without a batch, so that further rounds are drawn."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Of one dimension."""
        if input.dim() > 1:
            raise Unsupported("batches")
        return super().forward(input)


def test_the_rounds_of_a_backend_that_declines_are_drawn_once_for_all_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, original_run = drawing._run, list[int]()

    def counting_run(sample: drawing.Sample, *arguments: Any, **facts: Any) -> None:
        original_run.append(sample.round)
        run(sample, *arguments, **facts)

    monkeypatch.setattr(drawing, "_run", counting_run)
    Choosy.__name__ = Choosy.__qualname__ = "Linear"
    engine = Engine(ModuleBackend("choosy", nn=SimpleNamespace(Linear=Choosy)), 40, 41)
    for check in ("shape", "values", "special"):
        assert engine.run(Item("Linear", check, "float32", "cpu")).examples.unsupported
    assert len(original_run) > 3
    assert len(original_run) == len(set(original_run))
