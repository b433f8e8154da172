"""The check `module`: copies, conversions, loads and hooks that are wrong fail it alone."""

from __future__ import annotations

from typing import Any

import planted
import pytest
from planted.bug import replacement_namespaces
from support import first_failure

from conformance.backends import ModuleBackend
from conformance.backends.torch_module import COPIES
from conformance.checks import module
from conformance.items.planning import Item
from conformance.run.engine import Engine

BUGS = [bug for bug in planted.BUGS if bug.check == "module"]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_of_a_module_fails_this_check_alone(bug: planted.Bug) -> None:
    backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
    verdict = Engine(backend, 200, 0).run(Item(bug.layer, "module", "float32", "cpu"))
    assert verdict.status == "failed", bug.story
    for check in ("values", "gradients"):
        assert not first_failure(backend, bug.layer, check, enough=20).failure


@pytest.mark.parametrize(
    "layer", ["Linear", "BatchNorm2d", "GRU", "Embedding", "ReLU", "LazyConv1d"]
)
def test_torch_passes(layer: str) -> None:
    verdict = Engine(ModuleBackend("torch"), 200, 0).run(Item(layer, "module", "float32", "cpu"))
    assert verdict.status == "passed", verdict.message


def test_the_backend_makes_every_copy() -> None:
    assert set(COPIES) == set(module.COPIES)


def test_a_backend_without_modules_says_so() -> None:
    class Plain(ModuleBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)
            layer.copy_layer = None  # type: ignore[method-assign,assignment]
            return layer

    verdict = Engine(Plain("plain"), 40, 0).run(Item("Linear", "module", "float32", "cpu"))
    assert verdict.status == "unsupported"
    assert "copies of modules not offered" in str(verdict)
