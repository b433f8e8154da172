"""A corpus of cheats, of honest kernels that look odd, and of modules: each gets its due verdict.

All run nightly; otherwise the first of each. `tools/judge_table.py` makes a table of the verdicts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.backends.guard import BackendError, guarded, unguarded_backend
from conformance.backends.kernel import (
    ENVIRONMENT_VARIABLE,
    KernelSettings,
    set_kernels,
)
from conformance.backends.sealed_kernel import SealedKernel
from conformance.commands.cli import main
from conformance.items.planning import Item
from conformance.model.case import Verdict
from conformance.run.engine import Engine

RecordProperty = Callable[[str, object], None]
FOLDER = Path(__file__).parent
SHARE = 1 if os.environ.get("NN_CONFORMANCE_TESTS") == "all" else 1000
CHECKS = ("values", "repeat", "gradients", "layout")
EXAMPLES, CALL_SECONDS = 12, 10.0
NUMPY = "NumPy is a language of kernels here (docs/judging.md)"
NOT_SEEN = {
    **dict.fromkeys(
        (
            *("numpy_convolve", "numpy_einsum", "numpy_inner", "numpy_matrix_class"),
            *("numpy_object_array", "numpy_operator", "numpy_product", "numpy_solver"),
            "numpy_tensordot_in_disguise",
        ),
        NUMPY,
    ),
    "timers_in_a_chain": "it wakes less often than an idle process is watched for",
    "signals_go_on": "it wakes less often than an idle process is watched for",
    "filled_at_the_next_line": "its answer is complete when the judge reads it first",
    "extension_in_cpp": "it compiles for minutes",
    "forked_thread_of_torch": "it waits for itself, call by call",
}
BREACHES = ("delegates", "tampers", "changes its answer", "lives on")


def _some(paths: Sequence[Path]) -> list[Path]:
    return sorted(paths)[::SHARE]


def _constant(file: Path, name: str) -> str:
    found = re.search(rf'^{name} = "(.*)"$', file.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{file.name}: it has no {name}"
    return found[1]


def judge_kernel(file: Path) -> list[Verdict]:
    """The verdicts of a sealed kernel in float32, up to the first that fails."""
    operator = _constant(file, "OPERATOR")
    function = operator.partition("::")[2].partition(".")[0]
    set_kernels(KernelSettings(((operator, f"{file}:{function}"),), "cpu"))
    verdicts: list[Verdict] = []
    backend = guarded(SealedKernel(CALL_SECONDS))
    try:
        for check in CHECKS:
            item = Item(_constant(file, "LAYER"), check, "float32", "cpu")
            verdicts.append(Engine(backend, EXAMPLES, 5).run(item))
            if verdicts[-1].status in ("failed", "crashed"):
                break
    finally:
        unguarded_backend(backend).close()
    return verdicts


def named_kinds(verdicts: Sequence[Verdict]) -> set[str]:
    """What the last verdict names: breaches, `"wrong"` for other failures, or nothing."""
    last = verdicts[-1]
    findings = [last.failure, *(cause.failure for cause in last.others)]
    return {
        finding.what if finding.kind == "breach" else "wrong"
        for finding in findings
        if finding is not None and last.status in ("failed", "crashed")
    }


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "")


@pytest.mark.parametrize("file", _some([*FOLDER.glob("kernels/*.py")]), ids=lambda x: x.stem)
def test_a_cheating_kernel_is_caught_and_named(file: Path, record_property: RecordProperty) -> None:
    if file.stem in NOT_SEEN:
        pytest.skip(NOT_SEEN[file.stem])
    try:
        verdicts = judge_kernel(file)
    except BackendError:
        record_property("verdict", "not loaded")
        return
    if all(verdict.status in ("unchecked", "unsupported") for verdict in verdicts):
        record_property("verdict", "unchecked")  # no layer reaches it, so it is not right
        return
    breaches = sorted(named_kinds(verdicts) - {"wrong"})
    record_property("verdict", breaches[0] if breaches else "wrong")
    # What harms nobody there is not named: the judge sees its numbers.
    due = {*_constant(file, "KIND").split(", "), "wrong"}
    assert named_kinds(verdicts) & due, verdicts[-1].message


@pytest.mark.parametrize("file", _some([*FOLDER.glob("honest/*.py")]), ids=lambda x: x.stem)
def test_an_honest_kernel_is_right(file: Path, record_property: RecordProperty) -> None:
    verdicts = judge_kernel(file)
    record_property("verdict", ", ".join(sorted(named_kinds(verdicts))) or "right")
    assert not named_kinds(verdicts), verdicts[-1].message
    assert any(verdict.status in ("passed", "known") for verdict in verdicts)


def judge_module(capsys: Any, folder: Path, implementation: str) -> dict[str, Any]:
    """What `check-module` says of an implementation, at two seeds."""
    files = [str(folder / "model.py"), "--against", str(folder / f"{implementation}.py")]
    main(["check-module", *files, "--seeds=2", "--json"])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("implementation", ["right", "wrong", "cheat"])
@pytest.mark.parametrize("folder", _some([*FOLDER.glob("modules/*/")]), ids=lambda x: x.name)
def test_an_implementation_of_a_module(
    capsys: Any, folder: Path, implementation: str, record_property: RecordProperty
) -> None:
    result = judge_module(capsys, folder, implementation)
    record_property("verdict", result["verdict"])
    if (folder.name, implementation) == ("matvec_large_k", "cheat"):
        pytest.skip(NUMPY)
    due = {"right": ("right",), "wrong": ("wrong",)}.get(implementation, (*BREACHES, "wrong"))
    assert result["verdict"] in due, (result["breaches"], result["calls"][-1]["text"])
