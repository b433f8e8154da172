"""Unwritten memory never looks like a right answer, and the failure says so."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import warm
from support import install_backends_module, run_session

from conformance.backends.poison import poisoned
from conformance.model.uninitialized import FILL_VALUES, count_unwritten

# The elements that it leaves out should be 0, as fresh memory from the system is.
LEAVES_OUT = """
from types import SimpleNamespace

import torch
from conformance.backends import ModuleBackend


class ReLU(torch.nn.ReLU):
    def forward(self, input):
        right = super().forward(input)
        written = torch.empty_like(right, memory_format=torch.contiguous_format)
        positive = right > 0
        written[positive] = right[positive]
        return written


backend = ModuleBackend("leaves-out", nn=SimpleNamespace(ReLU=ReLU), base="torch")
"""


@pytest.mark.parametrize("isolation", ["process", "sealed"])
def test_an_element_that_was_not_written_is_told(
    isolation: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(pytester, monkeypatch, LEAVES_OUT)
    with warm.cold():
        result = run_session(
            pytester, "-v",
            "--conformance-backend=plugged:backend", "--conformance-layer=ReLU",
            "--conformance-check=values", "--conformance-dtype=float32",
            "--conformance-profile=smoke", f"--conformance-isolation={isolation}",
        )  # fmt: skip
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*got    -1.69*e+38*", "*of the wrong elements were never written*"]
    )


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_allocator_fills_small_and_large_memory() -> None:
    program = (
        "import torch, sys\n"
        "for count in (1, 3, 100, 20_000, 10**6):\n"
        "    for dtype in (torch.float32, torch.float64, torch.bfloat16):\n"
        "        print(torch.empty(count, dtype=dtype)[0].double().item())\n"
        "        assert torch.empty(count, dtype=torch.float16)[0].isnan()\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], env=poisoned(os.environ), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert {float(line) for line in completed.stdout.split()} == set(FILL_VALUES)


def test_what_the_user_set_stays() -> None:
    user_environment = {"GLIBC_TUNABLES": "glibc.malloc.perturb=7:glibc.malloc.arena_max=1"}
    if sys.platform != "darwin":
        tunables = poisoned(user_environment)["GLIBC_TUNABLES"].split(":")
        assert tunables[:2] == user_environment["GLIBC_TUNABLES"].split(":")
        assert tunables[2:] == ["glibc.malloc.tcache_count=0"]


def test_only_such_memory_counts() -> None:
    assert count_unwritten(np.array([0.0, 1.0, np.nan, -np.inf])) == 0
    assert count_unwritten(np.array([*FILL_VALUES, 1.0])) == len(FILL_VALUES)
    assert count_unwritten(np.array([3], np.int64)) == 0
