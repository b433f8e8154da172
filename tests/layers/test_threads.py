"""The check `threads`: bugs of several threads, and of calls at once, fail it alone."""

from __future__ import annotations

import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from support import first_failure

from conformance.backends import ModuleBackend
from conformance.backends.foreign_calls import hooks
from conformance.items.planning import Item
from conformance.known.entry import parse_entries
from conformance.run.engine import Engine

BUGS = [bug for bug in planted.BUGS if bug.check == "threads"]
ITEM = Item("Linear", "threads", "float32", "cpu")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_of_threads_fails_this_check_alone(bug: planted.Bug) -> None:
    backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
    verdict = Engine(backend, 200, 0).run(Item(bug.layer, "threads", "float32", "cpu"))
    assert verdict.status == "failed", bug.story
    assert "threads" in str(verdict.message)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for check in ("values", "gradients"):
            assert not first_failure(backend, bug.layer, check, enough=20).failure
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("layer", ["functional.relu", "Linear", "LayerNorm", "functional.mse_loss"])
def test_torch_passes(layer: str) -> None:
    before = torch.get_num_threads()
    verdict = Engine(ModuleBackend("torch"), 200, 0).run(Item(layer, "threads", "float32", "cpu"))
    assert verdict.status == "passed", verdict.message
    assert torch.get_num_threads() == before


def test_a_backend_without_threads_says_so() -> None:
    class OneThread(ModuleBackend):
        use_threads = None  # type: ignore[assignment]

    verdict = Engine(OneThread("one"), 40, 0).run(ITEM)
    assert verdict.status == "unsupported"
    assert "use_threads not offered" in str(verdict)


def test_a_backend_that_cannot_set_its_threads_fails() -> None:
    class Refusing(ModuleBackend):
        def use_threads(self, count: int | None) -> None:
            raise OSError(f"no {count} threads")

    verdict = Engine(Refusing("refusing"), 40, 0).run(ITEM)
    assert verdict.status == "failed"
    assert "use_threads raised OSError: no" in str(verdict.message)


def test_a_fork_judges_no_threads() -> None:
    with hooks(in_fork=True):
        verdict = Engine(ModuleBackend("torch"), 40, 0).run(ITEM)
    assert verdict.status == "unchecked"


@pytest.mark.parametrize(
    ("check", "applies"), [("values", True), ("gradients", True), ("laws", False)]
)
def test_known_failures_of_values_and_gradients_are_its_own(check: str, applies: bool) -> None:
    text = f'[[known]]\nlayer = "Linear"\ncheck = "{check}"\nreason = "precision: planted"\n'
    (entry,) = parse_entries(text + "strict = false\n", "planted.toml")
    item = {"layer": "Linear", "dtype": "float32", "device": "cpu", "backend": "torch"}
    assert entry.applies(check="threads", **item) == applies
