"""What a kernel says of itself, and what it does besides computing, in a sealed process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.backends.capabilities import base_of, breaches_of, numerics_of, unasked_of
from conformance.backends.guard import unguarded_backend
from conformance.backends.kernel import ENVIRONMENT_VARIABLE, KernelSettings, set_kernels
from conformance.backends.module import ModuleBackend
from conformance.backends.registry import load
from conformance.items.planning import Item
from conformance.model.breaches import DELEGATES, TAMPERS
from conformance.model.protocols import KERNEL_BACKEND, SEALED_PREFIX
from conformance.run.engine import Engine

SOURCE = """
import os, threading
import torch
from torch.utils._python_dispatch import _disable_current_modes
from conformance.backends.foreign_calls import HOOKS
from conformance.backends.override import OverrideBackend
from conformance.model.case import Numerics

HOW = os.environ.get("HOW")
if HOW == "declares":
    OverrideBackend.base = property(lambda self: "wire:true", lambda self, value: None)
    OverrideBackend.unasked = property(lambda self: ("values",), lambda self, value: None)
    OverrideBackend.numerics = lambda self, dtype, device="cpu": Numerics(unit_roundoff=0.25)

def product(a, b):
    wide = (a.double().numpy()[:, :, None] * b.double().numpy()).sum(1)
    return torch.from_numpy(wide).to(a.dtype)

def product_in_bfloat16(a, b):
    total = torch.zeros(a.shape[0], b.shape[1])
    for k in range(a.shape[1]):
        term = total.numpy() + a.numpy()[:, k, None] * b.numpy()[None, k]
        total = torch.from_numpy(term).bfloat16().float()
    return total

def mm(self, mat2):
    result = product_in_bfloat16(self, mat2) if HOW == "coarse" else product(self, mat2)
    if HOW == "modes off":
        with _disable_current_modes():
            torch.bmm(self[None], mat2[None])
    if HOW == "out= on another thread":
        out = torch.empty(1, self.shape[0], mat2.shape[1], dtype=self.dtype)
        work = lambda: torch.bmm(self[None], mat2[None], out=out)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    if HOW == "closes the reports":
        report = HOOKS.get().operator_watch._report.__closure__[0].cell_contents
        os.close(report._descriptor)
    return result

def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    with _disable_current_modes():
        return torch.ops.aten.embedding(weight, indices, padding_idx)
"""
ITEM = Item("functional.linear", "values", "float32", "cpu")


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Loads the kernel in a sealed process, told by `HOW` what to do."""
    (tmp_path / "kernels.py").write_text(SOURCE)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "")
    backends = []

    def load_kernel(how: str, name: str = "mm") -> Any:
        monkeypatch.setenv("HOW", how)
        operator = f"aten::{name}", f"{tmp_path}/kernels.py:{name}"
        set_kernels(KernelSettings((operator,), "cpu"))
        backends.append(load(f"{SEALED_PREFIX}{KERNEL_BACKEND}"))
        return backends[-1]

    yield load_kernel
    for backend in backends:
        unguarded_backend(backend).close()


def test_a_kernel_does_not_decide_how_it_is_judged(sealed: Any) -> None:
    backend = sealed("declares")
    assert base_of(backend, ITEM.layer) == "torch"
    assert unasked_of(backend) == ("errors",)
    torchs = ModuleBackend("torch", base="torch").numerics("float32")
    assert numerics_of(backend, "float32") == torchs


def test_a_kernel_that_does_its_own_work_is_right(sealed: Any) -> None:
    verdict = Engine(sealed("honest"), 8, 3).run(ITEM)
    # A case that torch itself refuses is known.
    assert verdict.status in ("passed", "known"), verdict.message
    assert verdict.comparisons > 0


def test_a_sum_in_a_coarser_format_is_said_to_be_one(sealed: Any) -> None:
    verdict = Engine(sealed("coarse"), 12, 3).run(ITEM)
    assert verdict.status == "failed"
    assert "within accumulation = 'bfloat16'" in str(verdict.message)


@pytest.mark.parametrize("folder", ["right", "wrong"])
def test_an_example_does_its_own_work(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    file = Path(__file__).parents[2] / "examples" / "kernels" / "kernels" / folder / "addmm.py"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "")
    set_kernels(KernelSettings((("aten::addmm", f"{file}:addmm"),), "cpu"))
    backend = load(f"{SEALED_PREFIX}{KERNEL_BACKEND}")
    try:
        verdict = Engine(backend, 40, 1).run(Item("Linear", "values", "float32", "cpu"))
    finally:
        unguarded_backend(backend).close()
    kind = None if verdict.failure is None else verdict.failure.kind
    assert kind == {"right": None, "wrong": "value"}[folder], verdict.message
    assert verdict.comparisons > 0


@pytest.mark.parametrize(
    ("how", "breach"),
    [
        ("modes off", (DELEGATES, "aten::bmm")),
        ("out= on another thread", (DELEGATES, "aten::bmm")),
        ("closes the reports", (TAMPERS, "closes the pipe of the reports about it")),
    ],
)
def test_what_a_kernel_does_besides_is_seen(sealed: Any, how: str, breach: tuple[str, str]) -> None:
    backend = sealed(how)
    verdict = Engine(backend, 4, 3).run(ITEM)
    assert verdict.status == "failed"
    assert verdict.failure is not None
    assert (verdict.failure.kind, verdict.failure.what, verdict.failure.says) == ("breach", *breach)
    assert breaches_of(backend) in ((), (breach,))


def test_a_kernel_that_calls_itself_past_torchs_modes_is_seen(sealed: Any) -> None:
    """Operators that move numbers are watched by torch's modes only, except the replaced one."""
    item = Item("Embedding", "values", "float32", "cpu")
    verdict = Engine(sealed("", "embedding"), 4, 3).run(item)
    assert verdict.failure is not None
    assert (verdict.failure.what, verdict.failure.says) == (DELEGATES, "aten::embedding")
