"""`nn-conformance check-kernel`: the score of a kernel, and usage errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.backends.kernel import ENVIRONMENT_VARIABLE
from conformance.commands import kernel
from conformance.commands.cli import main
from conformance.items.planning import Profile

SOURCE = """
import ctypes

import torch

def wide(x):
    return x.double().numpy()

def right(self, mat1, mat2, *, beta=1, alpha=1):
    return torch.from_numpy(alpha * (wide(mat1) @ wide(mat2)) + beta * wide(self)).to(mat1.dtype)

def wrong(self, mat1, mat2, *, beta=1, alpha=1):
    return right(self, mat1[:, :2], mat2[:2], beta=beta, alpha=alpha)

def beyond(self, mat1, mat2, *, beta=1, alpha=1):
    if mat1.numel() and mat1.is_contiguous():
        end = mat1.data_ptr() + mat1.numel() * mat1.element_size()
        ctypes.memmove(ctypes.create_string_buffer(1), end, 1)
    return right(self, mat1, mat2, beta=beta, alpha=alpha)

def never(self, mat1, mat2, *, beta=1, alpha=1):
    return torch.addmm(self, mat1, mat2)

def two(a, b):
    return a
"""


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of kernels in the working directory, and a profile of a few examples."""
    (tmp_path / "tried.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "")
    monkeypatch.setitem(kernel.PROFILES, "smoke", Profile(6))
    monkeypatch.setattr(kernel, "CHECKS", {"values": None, "layout": None})


ONE_ITEM = ("--layer=functional.linear", "--dtype=float32", "--profile=smoke", "--seed=3")


def _run_score(
    capsys: Any, *arguments: str, isolation: str = "process"
) -> tuple[int, dict[str, Any]]:
    place = f"--isolation={isolation}"
    code = main(["check-kernel", *arguments, "--op=aten::addmm", *ONE_ITEM, place, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_right_kernel(kernels: None, capsys: Any) -> None:
    code, score = _run_score(capsys, "tried.py:right", isolation="sealed")
    assert (code, score["verdict"], score["share"]) == (0, "right", 1)
    assert score["hits"]["aten::addmm"] > 0
    assert score["smallest"] is None
    assert score["layers"] == ["functional.linear"]
    assert all(timed["ratio"] > 0 for timed in score["speed"])


def test_a_wrong_kernel(kernels: None, capsys: Any) -> None:
    code, score = _run_score(capsys, "tried.py:wrong")
    assert (code, score["verdict"], score["speed"]) == (1, "wrong", [])
    assert 0 < score["share"] < 1
    assert score["smallest"]["call"].startswith("functional.linear(")
    assert score["failed"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the memory guard needs Linux")
def test_a_kernel_that_reads_beyond_its_operand(
    kernels: None, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, score = _run_score(capsys, "tried.py:beyond", "--memory-guard")
    assert (code, score["verdict"]) == (1, "wrong")
    assert "memory guard: a read at byte 0 after the end of a block" in score["smallest"]["message"]
    assert _run_score(capsys, "tried.py:right", "--memory-guard")[1]["verdict"] == "right"
    assert _run_score(capsys, "tried.py:beyond")[1]["verdict"] == "right"
    monkeypatch.setenv("CC", "no-such-compiler")
    options = ("tried.py:right", "--op=aten::addmm", "--memory-guard")
    assert main(["check-kernel", *options]) == 2
    assert "--memory-guard: needs a C compiler" in capsys.readouterr().err


def test_a_kernel_that_falls_back_delegates(kernels: None, capsys: Any) -> None:
    code, score = _run_score(capsys, "tried.py:never", isolation="sealed")
    assert (code, score["verdict"]) == (1, "delegates")
    assert score["breaches"] == {"delegates": ["aten::addmm"]}
    assert "delegates: aten::addmm" in score["smallest"]["message"]


def test_a_kernel_that_falls_back_in_every_call_is_unchecked(kernels: None, capsys: Any) -> None:
    unsealed = "--isolation=process"
    code = main(["check-kernel", "tried.py:never", "--op=aten::addmm", *ONE_ITEM, unsealed])
    output = capsys.readouterr().out
    assert code == 1
    assert output.startswith("tried.py:never for aten::addmm on cpu: unchecked\n")
    assert "seed 3, profile smoke" in output
    assert all(len(line) <= 80 for line in output.splitlines())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("tried.py:two", "--op=aten::addmm"),
            "aten::addmm: expected a callable that takes (Tensor",
        ),
        (
            ("tried.py:right", "--op=aten::admm"),
            "operator 'aten::admm': torch has no such operator",
        ),
        (("tried.py:gone", "--op=aten::addmm"), "'tried.py:gone': the file has no gone"),
    ],
)
def test_a_kernel_or_an_operator_that_is_none_is_a_usage_error(
    kernels: None, capsys: Any, arguments: tuple[str, ...], said: str
) -> None:
    assert main(["check-kernel", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("a:b", "--op=aten::mm", "--op=aten::bmm"),
            "1 functions and 2 --op: expected one operator",
        ),
        (("a:b", "a:c", "--op=aten::mm", "--op=aten::mm"), "--op='aten::mm' is given twice"),
        (("a:b", "--op=aten::mm", "--profile=all"), "--profile='all': expected one of smoke"),
        (("a:b", "--op=aten::mm", "--dtype=int8"), "--dtype='int8': expected one of float32"),
        (("a:b", "--op=aten::mm", "--layer=Lin"), "--layer='Lin': expected a layer"),
        (("a:b", "--op=aten::mm", "--seed=x"), "--seed='x': expected a whole number"),
        (
            ("a:b", "--op=aten::mm", "--isolation=sealed", "--memory-guard"),
            "--memory-guard: expected --isolation=process",
        ),
        (("a:b", "--op=aten::mm", "--failures=-1"), "--failures='-1': expected a whole number"),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    kernels: None, capsys: Any, arguments: tuple[str, ...], said: str
) -> None:
    assert main(["check-kernel", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ({"status": "not timed: failed values", "message": "wrong numbers"}, "wrong"),
        ({"status": "not timed: delegates", "message": "aten::matmul"}, "delegates"),
        ({"status": "not timed: answers come late, and the layer offers no sync()"}, "right"),
        ({"status": "timed", "seconds": 1e-3}, "right"),
    ],
)
def test_what_the_timing_finds_is_the_verdict(line: dict[str, Any], verdict: str) -> None:
    """An attack on the judge: a kernel that is wrong for large weights alone."""

    class TimingChild:
        def ask(self, request: Any) -> Any:
            return {"line": line}

    score = kernel.Score(
        "right", {}, {}, "cpu", "smoke", 1, ("Linear",), 10, 0, 0, 1.0, {"passed": 1}, 0, None,
        0.5, {},
    )  # fmt: skip
    child: Any = TimingChild()
    speeds, faults = kernel._time_calls(child, ("Linear",), "float32", ("cpu",))
    if faults:
        score = kernel._with_timed_faults(score, faults)
        assert score.failed == 1
        assert score.smallest is not None
        assert score.smallest.message == line["message"]
    assert score.verdict == verdict
    assert bool(speeds) == (line["status"] == "timed")
