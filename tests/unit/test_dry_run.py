"""Dry runs: which calls are made in them, and that nothing they return is judged."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conformance.backends import ModuleBackend
from conformance.backends.foreign_calls import HOOKS
from conformance.items.planning import Item
from conformance.items.stream import count_structures
from conformance.model.budget import Budget
from conformance.run import dry_run
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

ITEM = Item("Linear", "values", "float32", "cpu")


class Compiler(ModuleBackend):
    """Counts the layers that it builds; in a dry run they return zeros."""

    compile_seconds = 0.05

    def __init__(self, wrong: float = 0.0) -> None:
        self.dry_builds: list[int] = []
        self.builds = self.dry_calls = 0
        backend = self

        class Linear(torch.nn.Linear):
            def forward(self, input: torch.Tensor) -> torch.Tensor:
                y = super().forward(input)
                backend.dry_calls += HOOKS.get().dry_run
                return 0 * y if HOOKS.get().dry_run else y + wrong

        super().__init__("compiler", nn=SimpleNamespace(Linear=Linear))

    def dry_run(self, make_calls: Callable[[], None]) -> None:
        builds = self.builds
        make_calls()
        self.dry_builds.append(self.builds - builds)

    def build(self, call: Any) -> Any:
        self.builds += 1
        return super().build(call)


def test_each_structure_is_called_once_before_the_cases_are_checked() -> None:
    backend = Compiler()
    engine = Engine(backend, 60, 0)
    structures = count_structures(engine.cases(ITEM))
    assert 1 < structures < 60
    verdict = engine.run(ITEM)
    assert verdict.status == "passed", verdict.message
    assert verdict.examples.checked == 60
    assert backend.dry_builds == [structures]


def test_a_dry_run_makes_all_calls_of_a_check_although_zeros_are_wrong() -> None:
    backend = Compiler()
    engine, item = Engine(backend, 60, 0), Item("Linear", "gradients", "float32", "cpu")
    assert engine.run(item).status == "passed"
    # Gradients of two calls, and the outputs while gradients are recorded.
    assert backend.dry_calls >= 3 * count_structures(engine.cases(item))


def test_structures_are_compiled_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "MAX_STRUCTURES", 4)
    backend = Compiler()
    assert Engine(backend, 60, 0).run(ITEM).status == "passed"
    assert backend.dry_builds[0] == 4
    assert len(backend.dry_builds) > 1


def test_what_a_dry_run_returns_is_not_judged_and_later_calls_are() -> None:
    assert Engine(Compiler(wrong=1.0), 60, 0).run(ITEM).status == "failed"


def test_half_of_the_time_is_left_for_the_calls_that_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("conformance.model.budget.time", SimpleNamespace(monotonic=lambda: now[0]))
    backend = Compiler()
    build = backend.build

    def slow_build(call: Any) -> Any:
        now[0] += 1.0
        return build(call)

    monkeypatch.setattr(backend, "build", slow_build)
    verdict = Engine(backend, 60, 0, budget=Budget(6.0)).run(ITEM)
    assert backend.dry_builds == [4]
    assert verdict.examples.checked == 2


def test_a_backend_that_fails_in_a_dry_run_fails_the_item(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(make_calls: Callable[[], None]) -> None:
        raise RuntimeError("no space left")

    backend = Compiler()
    monkeypatch.setattr(backend, "dry_run", fail)
    verdict = Engine(backend, 60, 0).run(ITEM)
    assert verdict.status == "failed"
    assert "dry_run(make_calls) raised RuntimeError: no space left" in str(verdict.message)
