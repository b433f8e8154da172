"""The check `threads`: bugs of several threads, and of calls at once, fail it alone."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from support import first_failure, install_backends_module

from conformance.backends import ModuleBackend
from conformance.backends.foreign_calls import hooks
from conformance.items.planning import Item
from conformance.known.entry import parse_entries
from conformance.model.bits import CAUSES, describe_bits, differing_bits, sum_bits
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


class Noisy(ModuleBackend):
    """A Linear that sums in another order for one cause; every answer is within its bound.

    Args:
        cause: one of `bits.CAUSES`.
    """

    def __init__(self, cause: str) -> None:
        super().__init__("noisy", nn=SimpleNamespace(Linear=self._make_class(cause)))

    @staticmethod
    def _make_class(cause: str) -> type[torch.nn.Linear]:
        calls = count()

        class Linear(torch.nn.Linear):
            def forward(self, input: torch.Tensor) -> torch.Tensor:
                is_noisy = {
                    "run": next(calls) % 2,
                    "threads": torch.get_num_threads() > 1,
                    "batch": input.ndim > 1 and input.shape[0] > 1,
                }[cause]
                x, weight = (
                    (input.flip(-1), self.weight.flip(-1)) if is_noisy else (input, self.weight)
                )
                return torch.nn.functional.linear(x, weight, self.bias)

        return Linear


@pytest.mark.parametrize("cause", CAUSES)
def test_what_changes_bits_is_counted(cause: str) -> None:
    verdict = Engine(Noisy(cause), 400, 0).run(ITEM)
    assert verdict.bits.keys() == CAUSES.keys()
    differing = {name for name, (same, compared) in verdict.bits.items() if same < compared}
    assert cause in differing
    # What changes in every second call differs everywhere; torch's own sums differ in a batch.
    assert cause == "run" or differing <= {cause, "batch"}
    assert cause in differing_bits(verdict.bits)


def test_bits_are_facts_in_words() -> None:
    bits = sum_bits([{"run": (3, 3)}, {"threads": (2, 3), "run": (1, 1)}, {}])
    assert bits == {"run": (4, 4), "threads": (2, 3)}
    wanted = "bits are the same in every run, with any number of threads in 2 of 3 cases"
    assert describe_bits(bits) == wanted
    assert differing_bits(bits) == "threads: other bits in 1 of 3 cases"
    assert describe_bits({}) == differing_bits({"run": (4, 4)}) == ""


BACKEND = """
import torch
from types import SimpleNamespace
from conformance.backends import ModuleBackend

class Linear(torch.nn.Linear):
    def forward(self, input):
        if torch.get_num_threads() == 1:
            return super().forward(input)
        return torch.nn.functional.linear(input.flip(-1), self.weight.flip(-1), self.bias)

backend = ModuleBackend("noisy", nn=SimpleNamespace(Linear=Linear))
"""


def test_bits_fail_if_the_user_requires_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(pytester, monkeypatch, BACKEND)
    options = (
        "--pyargs", "conformance.suite", "--conformance-backend=plugged:backend", "-q",
        "--conformance-layer=Linear", "--conformance-check=threads", "--conformance-dtype=float32",
        "--conformance-examples=60", "--conformance-isolation=none",
    )  # fmt: skip
    assert pytester.runpytest_subprocess(*options).ret == 0
    result = pytester.runpytest_subprocess(*options, "--conformance-require=bitwise")
    assert result.ret == 1
    assert "threads: other bits in" in result.stdout.str()
    refused = pytester.runpytest_subprocess(*options, "--conformance-require=bits")
    assert "expected one of bitwise" in refused.stdout.str() + refused.stderr.str()
