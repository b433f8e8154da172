"""A sealed process has the code under test and the contract's door, and nothing of its judge."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance import Call, Unsupported
from conformance.backends import confinement, sealed_process
from conformance.backends.capabilities import (
    base_of,
    breaches_of,
    info_of,
    less_optimized_of,
    refusals_of,
)
from conformance.backends.foreign_calls import hooks
from conformance.backends.guard import BackendError, unguarded_backend
from conformance.backends.registry import load
from conformance.backends.sealed import SealedBackend
from conformance.backends.sealed_messages import LateError, Pipe, SealedError
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.isolation.child import runner_here
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.model.breaches import CHANGES, LIVES_ON
from conformance.model.case import Case, NotOffered, Numerics, Unreached
from conformance.model.failure import Failure
from conformance.model.untrusted import RemoteException
from conformance.run.engine import Engine

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can confine a process")
JUDGE = """
import ctypes, gc, os, signal, socket, subprocess, sys, threading, time
import numpy as np
from conformance.backends import FunctionBackend, implements
from conformance.backends.sealed_catalogue import JUDGES_PACKAGES
from conformance import Unsupported
from conformance.model.case import NotOffered, Unreached


def attempt(function, *arguments):
    try:
        return repr(function(*arguments))
    except BaseException as error:
        return type(error).__name__


def found():
    names = [x.__module__ for x in gc.get_objects() if type(x) is type(attempt)]
    return sum(str(name).startswith(JUDGES_PACKAGES) for name in names)


class MyError(Exception):
    pass


class MyValueError(ValueError):
    pass


RAISED = {
    "declined": Unsupported("bias"), "lacking": NotOffered("x"), "unreached": Unreached("aten::mm"),
    "refused": MyError("no"), "value": MyValueError("1 < 2"), "key": KeyError("k"),
    "unicode": UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "exit": SystemExit(3),
}


class Backend(FunctionBackend):
    name = "probe"
    base = "wire:touch stolen"
    less_optimized = ("torch", "wire:touch stolen")
    refusals = (MyError,)

    def info(self):
        judge = int(os.environ["JUDGE"])
        folder = os.environ["OUTSIDE"]
        own = os.path.join(os.environ["TMPDIR"], "mine")
        return {
            "modules": str([x for x in sys.modules if x.startswith(JUDGES_PACKAGES)]),
            "functions": str(found()),
            "import": attempt(__import__, "conformance.oracles.linear"),
            "environment": str([x for x in os.environ if x.startswith("CONFORMANCE_")]),
            "write outside": attempt(open, os.path.join(folder, "x"), "w"),
            "write inside": attempt(lambda: open(own, "w").write("x")),
            "signal": attempt(os.kill, judge, 0),
            "memory": attempt(open, f"/proc/{judge}/mem", "rb"),
            "connect": attempt(socket.create_connection, ("127.0.0.1", 9), 1),
        }

    def build(self, call):
        if call.training and os.environ.get("HOW") == "unbuilt":
            raise MyValueError("not built")
        return super().build(call)

    def put(self, array, layout, dtype, device):
        if layout == "reversed" or array.size == 7:
            raise Unsupported(layout)
        return array

    def get(self, native):
        return native

    @implements("ReLU")
    def relu(self, state, input):
        how = os.environ.get("HOW", "")
        if how in RAISED:
            raise RAISED[how]
        if how == "unbuilt" and input.size == 3:
            raise MyValueError("called")
        if how == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "aborts":
            os.abort()
        if how == "closes":
            os.closerange(3, 999)
        if how == "itself":
            return input
        if how in ("hangs", "closes"):
            time.sleep(60)
        output = np.maximum(input, 0)
        if how == "late":
            threading.Timer(0.05, lambda: output.__imul__(2)).start()
        if how == "leaves":
            subprocess.Popen(["sleep", "97"], start_new_session=True)
        return output
"""
CALL = Call("ReLU", {}, {}, "float64", "cpu")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The module of a backend on `sys.path`, and what it is told of its judge."""
    (tmp_path / "probing.py").write_text(JUDGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("JUDGE", str(os.getpid()))
    monkeypatch.setenv("OUTSIDE", str(tmp_path))
    monkeypatch.setenv("CONFORMANCE_SEED", "7")
    return monkeypatch


@pytest.fixture
def sealed(environment: pytest.MonkeyPatch) -> Iterator[Any]:
    """Loads the backend in a process, told by `HOW` what to do."""
    loaded = []

    def load_sealed(how: str = "", seconds: float | None = None) -> Any:
        environment.setenv("HOW", how)
        loaded.append(SealedBackend("probing:Backend", seconds))
        return loaded[-1]

    yield load_sealed
    for backend in loaded:
        backend.close()


@pytest.fixture(scope="module")
def sealed_torch() -> Any:
    """torch in a sealed process."""
    return load("sealed:torch")


def _call(backend: Any) -> Any:
    layer = backend.build(CALL)
    output = layer(layer.put(np.array([-1.0, 2.0])))
    return layer, output


def test_the_process_has_no_oracle_and_no_word_of_the_run(environment: pytest.MonkeyPatch) -> None:
    facts = info_of(load("sealed:probing:Backend"))
    assert (facts["modules"], facts["functions"], facts["environment"]) == ("[]", "0", "[]")
    assert facts["import"] == "Unsupported"


def test_the_process_chooses_no_code_for_its_judge(environment: pytest.MonkeyPatch) -> None:
    backend = load("sealed:probing:Backend")
    assert base_of(backend, "ReLU") == ""
    assert less_optimized_of(backend) == ("torch",)


@linux
def test_the_process_reaches_nothing_outside(environment: pytest.MonkeyPatch) -> None:
    facts = info_of(load("sealed:probing:Backend"))
    if confinement.OWN_FOLDER in facts["sealed"]:
        assert facts["write outside"] == "PermissionError"
        assert facts["memory"] == "PermissionError"
    if confinement.NO_NETWORK in facts["sealed"]:
        assert facts["connect"] == "PermissionError"
    if confinement.OWN_PROCESSES in facts["sealed"]:
        assert facts["signal"] == "ProcessLookupError"
    elif confinement.NO_SIGNALS in facts["sealed"]:
        assert facts["signal"] == "PermissionError"
    assert facts["write inside"] == "1"


def test_the_code_under_test_does_not_say_what_is_withheld_from_it(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lie = f"import os\nos.environ[{confinement.APPLIED_VARIABLE!r}] = 'no UDP'\n"
    (tmp_path / "lying.py").write_text(lie + JUDGE)
    assert "UDP" not in info_of(load("sealed:lying:Backend"))["sealed"]


def test_answers_are_those_of_the_backend(sealed: Any) -> None:
    layer, output = _call(sealed())
    assert layer.get(output).tolist() == [0.0, 2.0]
    assert layer.dtype(output) == "float64"
    assert not hasattr(layer, "vjp")


def test_an_array_is_sent_with_the_next_request(sealed: Any) -> None:
    backend = sealed()
    layer = backend.build(CALL)
    asked = []
    ask = backend._process._ask
    backend._process._ask = lambda request: asked.append(request.member) or ask(request)
    array = np.array([-1.0, 2.0])
    first, second = layer.put(array), layer.put(array[:1])
    array[:] = 5.0
    assert layer.get(layer(first)).tolist() == [0.0, 2.0]
    assert layer.get(second).tolist() == [-1.0]
    assert asked == ["call", "get", "get"]
    refused = layer.put(np.ones(7))
    assert layer.get(layer(second)).tolist() == [0.0]
    with pytest.raises(Unsupported, match="contiguous"):
        layer(refused)
    assert layer.get(layer(second)).tolist() == [0.0]
    with pytest.raises(Unsupported, match="reversed"):
        layer.put(array, "reversed")


def test_a_layer_is_built_with_the_next_request_once_one_of_its_name_is_known(sealed: Any) -> None:
    backend = sealed()
    backend.build(CALL)
    asked = []
    answer = backend._process._answer
    backend._process._answer = lambda request: asked.append(request.member) or answer(request)
    layer, output = _call(backend)
    assert not hasattr(layer, "vjp")
    assert (layer.get(output).tolist(), layer.dtype(output)) == ([0.0, 2.0], "float64")
    assert asked == ["call", "get"]
    # Before its first call it is asked for.
    assert not hasattr(backend.build(CALL), "vjp")
    assert asked == ["call", "get", ""]


def test_a_layer_that_cannot_be_built_fails_where_it_is_used_and_by_its_own_step(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("HOW", "unbuilt")
    backend = load("sealed:probing:Backend")
    backend.build(CALL)
    in_training = replace(CALL, training=True)
    layer = backend.build(in_training)
    assert hasattr(layer, "shape") is hasattr(backend.build(CALL), "shape")
    with pytest.raises(ValueError, match="not built"):
        layer(layer.put(np.array([1.0])))
    for call, wanted in ((in_training, "build"), (CALL, "call")):
        trial = Trial(backend, CATALOGUE["ReLU"], Case(call, (np.zeros(3),)), Numerics())
        with pytest.raises(Failure) as failed:
            CHECKS["values"].run(trial)
        assert failed.value.finding.what == wanted
        assert failed.value.finding.exception == "MyValueError"


def test_a_native_that_comes_back_is_the_same(sealed: Any) -> None:
    layer = sealed("itself").build(CALL)
    native = layer.put(np.array([1.0]))
    assert layer(native) is native


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("declined", Unsupported, "bias"),
        ("lacking", NotOffered, "x"),
        ("unreached", Unreached, "reached none of: aten::mm"),
        ("value", ValueError, "1 < 2"),
        ("key", KeyError, "'k'"),
        ("unicode", ValueError, "'utf-8' codec can't decode byte 0x78 in position 0: bad"),
        ("exit", SystemExit, "3"),
    ],
)
def test_exceptions_keep_class_and_text(sealed: Any, how: str, kind: type, text: str) -> None:
    with pytest.raises(kind) as raised:
        _call(sealed(how))
    assert str(raised.value) == text
    if how == "value":
        assert type(raised.value).__name__ == "MyValueError"
        assert isinstance(raised.value, RemoteException)
        assert "probing.py" in raised.value.trace


def test_a_refusal_of_the_backends_own_class_is_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOW", "refused")
    backend = load("sealed:probing:Backend")
    (kind,) = refusals_of(backend)
    with pytest.raises(kind, match="no"):
        _call(unguarded_backend(backend))


@pytest.mark.parametrize(("how", "status"), [("dies", "-11"), ("aborts", "-6")])
def test_the_end_of_the_process_is_seen(sealed: Any, how: str, status: str) -> None:
    with pytest.raises(SealedError, match=f"ended with status {status}"):
        _call(sealed(how))


def test_a_call_that_hangs_ends_at_the_limit(sealed: Any) -> None:
    with pytest.raises(SealedError, match="no answer within the time limit"):
        _call(sealed("hangs", 1))


@pytest.mark.parametrize(("how", "status"), [("dies", "crashed"), ("hangs", "hung")])
def test_a_case_that_may_end_the_process_needs_no_copy(sealed: Any, how: str, status: str) -> None:
    backend = sealed(how)
    run = runner_here(backend)
    assert run is not None

    def call() -> Outcome:
        with pytest.raises(SealedError):
            _call(backend)
        return Outcome("passed")

    with hooks(expendable=True):
        lost = run(call, 1.0)
    assert (lost.status, "SIGSEGV" in lost.message) == (status, how == "dies")
    assert run(lambda: Outcome("passed"), 1.0).status == "passed"


def test_a_process_that_closes_its_pipe_and_stays_is_killed(
    sealed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_process, "END_SECONDS", 0.5)
    with pytest.raises(SealedError, match="ended with status -9"):
        _call(sealed("closes"))


def test_an_answer_that_changes_later_is_seen(sealed: Any) -> None:
    backend = sealed("late")
    layer, output = _call(backend)
    layer.get(output)
    assert not [kind for kind, _ in backend.breaches() if kind == CHANGES]
    time.sleep(0.2)
    layer.get(output)
    assert CHANGES in [kind for kind, _ in backend.breaches()]


def test_the_first_outputs_are_read_again_and_then_some_at_random(
    sealed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = sealed()
    layer = backend.build(CALL)
    x, asked, drawn = layer.put(np.array([1.0])), list[str](), [1]
    monkeypatch.setattr(sealed_process.secrets, "randbelow", lambda limit: drawn[0])
    answer = backend._process._answer
    backend._process._answer = lambda request: asked.append(request.member) or answer(request)

    def count_reads(calls: int) -> int:
        asked.clear()
        assert all(layer.get(layer(x)).tolist() == [1.0] for _ in range(calls))
        return asked.count("get")

    assert count_reads(20) == sealed_process.ALWAYS_READ_AGAIN
    drawn[0] = 0
    assert count_reads(3) == 3


@linux
def test_a_process_that_runs_on_is_seen_and_ends(sealed: Any) -> None:
    backend = sealed("leaves")
    _call(backend)
    time.sleep(0.3)  # until the new process is `sleep`
    assert (LIVES_ON, "the process sleep runs after the call") in backend.breaches()
    isolated = confinement.OWN_PROCESSES in backend._process.means
    backend.close()
    time.sleep(0.2)
    if isolated:
        assert not _runs_on("sleep\x0097")


def _runs_on(command: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_text().startswith(command):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize(("runs", "lives_on"), [((0, 9, 9, 9), False), ((0, 9, 9, 18), True)])
def test_a_process_that_goes_to_its_wait_does_not_live_on(
    sealed: Any, runs: Sequence[int], lives_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runs` is how often the process has run at the ends of two moments."""
    process = sealed()._process
    counts = iter([count for count in runs for _ in process._own_processes])
    monkeypatch.setattr(sealed_process, "read_activity", lambda _: (0.0, next(counts)))
    assert process._works_while_idle() == lives_on


def test_natives_that_nobody_holds_are_dropped(sealed: Any) -> None:
    backend = sealed()
    layer, output = _call(backend)
    number = output.sealed_number()
    del output
    gc.collect()
    _call(backend)
    with pytest.raises(KeyError):
        backend._process.call(number, "sum")
    assert layer.get(layer.put(np.ones(1))) == 1.0


# Check `threads` would leave threads for which a later fork of this process waits.
@pytest.mark.parametrize("check", [x for x in CHECKS if x not in ("random", "threads")])
def test_an_item_has_the_same_verdict(check: str, sealed_torch: Any) -> None:
    item = Item("Linear", check, "float32", "cpu")
    verdicts = [Engine(backend, 25, 3).run(item) for backend in (load("torch"), sealed_torch)]
    first, second = ((v.status, v.outcomes, v.comparisons) for v in verdicts)
    assert first == second
    # Check `state` looks at the random state of new modules.
    assert check == "state" or verdicts[0].ulps == verdicts[1].ulps


def test_a_backend_that_cannot_be_loaded_is_a_usage_error() -> None:
    with pytest.raises(BackendError, match="no_such_module"):
        load("sealed:no_such_module:backend")


def test_a_backend_that_reports_nothing_has_no_breaches() -> None:
    assert breaches_of(load("torch")) == ()


def test_an_answer_before_its_request_is_none() -> None:
    source, sink = os.pipe()
    sender, receiver = Pipe(source, sink), Pipe(source, sink)
    try:
        for answer in (b"asked for", b"too early"):
            sender.send(answer)
        assert receiver.receive() == b"asked for"
        with pytest.raises(SealedError, match="before it was asked"):
            receiver.send(b"request")
    finally:
        os.close(source)
        os.close(sink)


def test_a_request_that_nobody_reads_is_late() -> None:
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    try:
        with pytest.raises(LateError):
            Pipe(source, sink).send(bytes(2**22), time.monotonic() + 0.1)
    finally:
        os.close(source)
        os.close(sink)
