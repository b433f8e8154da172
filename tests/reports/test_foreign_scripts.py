"""Scripts of failures of foreign backends, each in a new process, with and without the bug."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from foreign import ForeignBug, bugs
from foreign_script_rate import Script, scripts
from printed import find_missing_numbers, script_message
from script_rate import run_check
from support import cases

from conformance.backends.registry import load
from conformance.checks.trial import Trial
from conformance.diagnosis.reproducer import NOT_REPRODUCED, make_reproducer
from conformance.layers import CATALOGUE
from conformance.model.case import Case, Unsupported

BUGS = {bug.name: bug for bug in bugs()}
# One object that several calls return, state that a call changes, gradients, and refusals by the
# framework's own exceptions.
CHOSEN = (
    ("numpy_only-first-answer-kept", "repeat"),
    ("plain-nothing-remembered", "repeat"),
    ("mlx-gradient-doubled", "gradients"),
    ("onnxruntime-invalid-gets-zeros", "errors"),
)


@pytest.mark.parametrize(("name", "check"), CHOSEN)
def test_a_script_shows_the_failure_of_a_foreign_backend(name: str, check: str) -> None:
    if name not in BUGS:
        pytest.skip("its framework is not installed")
    bug = BUGS[name]
    script = next(scripts(bug, (check,)))
    assert NOT_REPRODUCED not in script.source
    ends, printed = script.run(bug.address)
    assert ends == 1, script.source
    assert not find_missing_numbers(script_message(script.source), printed)
    assert script.run(bug.faithful)[0] == 0, script.source


def test_what_a_faithful_adapter_declines_is_no_failure() -> None:
    bug = BUGS["plain-nothing-remembered"]
    script = next(scripts(bug, ("values",)))
    ends, printed = script.run("foreign.of_numpy_only:NumpyOnly")
    assert ends == 0
    assert printed.startswith("declined: layer BatchNorm2d")


def test_a_script_of_a_process_that_ends() -> None:
    bug = ForeignBug("ends", "foreign.of_plain:Ends", "foreign.of_plain:Plain", ("Dropout",), "")
    trial = Trial(load(bug.address), CATALOGUE["Dropout"], cases("Dropout")[0])
    source = make_reproducer(trial, "values", "the process ended", ends_process=True)
    script = Script(bug, "Dropout", "values", "the process ended", source)
    assert script.run(bug.address) == (7, "")
    assert script.run(bug.faithful) == (0, "the process is still there\n")


def _run_alone(source: str) -> tuple[int, str]:
    """Run a script in a new process without this package."""
    process = subprocess.run(
        [sys.executable, "-I", "-c", source], text=True, capture_output=True, timeout=300
    )
    return process.returncode, process.stdout


def _script(backend: Any, case: Case) -> str:
    """The script of a case's failure in `values`, or of its steps if it passes."""
    trial, failure = run_check(backend, case, "values")
    return make_reproducer(trial, "values", str(failure), ends_process=failure is None)


@pytest.mark.parametrize("name", ["onnxruntime", "onnx-reference", "openvino-f32"])
def test_a_script_needs_the_framework_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", name.replace("onnx-reference", "onnx").partition("-")[0]):
        pytest.importorskip(package)
    translation = pytest.importorskip("conformance.backends.adapters.onnx.translation")
    case = next(x for x in cases("functional.relu") if x.inputs[0].min() < 0)
    backend = load(name)

    right = _script(backend, case)
    assert "conformance" not in right
    assert _run_alone(right) == (0, "the process is still there\n")

    def identity(graph: Any, x: Any, **arguments: Any) -> str:
        return graph.add("Identity", x.name)

    monkeypatch.setitem(translation.FUNCTIONS, "functional.relu", identity)
    ends, printed = _run_alone(_script(backend, case))
    assert ends == 1
    assert printed.endswith("FAILED\n")


def test_a_script_of_a_compiled_call_needs_torch_alone() -> None:
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("no C++ compiler")
    trial = Trial(load("torch-compile"), CATALOGUE["Network"], cases("Network")[3])
    source = make_reproducer(trial, "values", "the process ended", ends_process=True)
    assert "compiled(layer1)(x1" in source
    assert "conformance" not in source
    assert _run_alone(source) == (0, "the process is still there\n")


@pytest.mark.parametrize("name", ["jax", "mlx", "tinygrad"])
@pytest.mark.parametrize("layer", ["functional.relu", "Network"])
def test_a_script_of_an_exported_call_needs_the_framework_alone(
    name: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"mlx": "mlx.core"}.get(name, name))
    backend = load(name)
    adapter = pytest.importorskip(f"conformance.backends.adapters.{name}").backend

    def answers(case: Case) -> bool:
        with suppress(Unsupported):
            return bool(Trial(backend, CATALOGUE[layer], case).outputs)
        return False

    case = next(x for x in cases(layer) if x.operands[0].size and answers(x))

    right = _script(backend, case)
    assert "conformance" not in right
    assert _run_alone(right) == (0, "the process is still there\n")

    build = adapter.build

    def add_one(call: Any) -> Any:
        built = build(call)
        function = built._function

        def one_more(*operands: Any, **arguments: Any) -> Any:
            result = function(*operands, **arguments)
            return tuple(x + 1 for x in result) if isinstance(result, tuple) else result + 1

        built._function = one_more
        return built

    monkeypatch.setattr(adapter, "build", add_one)
    source = _script(backend, case)
    assert "conformance" not in source
    assert "add" in source.lower()
    ends, printed = _run_alone(source)
    assert ends == 1, printed
    assert printed.endswith("FAILED\n")
