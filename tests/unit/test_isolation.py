"""Backends that crash, hang, exit or fill the memory cost one verdict, with its minimal case."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import warm
from forked import call_in_fork
from support import cases, install_backends_module, run_forked_session, run_session

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import BUILDS_PER_CHECK
from conformance.backends.foreign_calls import hooks
from conformance.isolation import isolated_engine
from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.isolation.journal import Entry, Journal
from conformance.isolation.process import Child
from conformance.items.forks import ALLOWED_SECONDS, ExpendableProcess
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import load_entries, parse_entries
from conformance.layers.encoding import encode_case
from conformance.model import limits
from conformance.model.case import Call
from conformance.model.limits import MIN_MEMORY, Limits
from conformance.run.engine import Engine

BACKENDS = """
import os, sys, time
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend
from conformance.diagnosis import reproducer

reproducer.MAX_CRASH_SECONDS = 3.0  # a script of what hangs takes all of it

with open("starts", "a") as starts:
    print(os.getpid(), file=starts)

class Abort(torch.nn.Conv1d):
    def forward(self, input):
        if self.groups > 1 and self.dilation[0] > 1:
            print("about to abort", file=sys.stderr)
            os.abort()
        return super().forward(input)

class Sleep(torch.nn.RNNCell):
    def forward(self, input, hx=None):
        if self.nonlinearity == "relu":
            time.sleep(1e6)
        return super().forward(input, hx)

class Hoard(torch.nn.Linear):
    def forward(self, input):
        kept = []
        while input.dim() == 3:
            kept.append(torch.empty(1 << 29))
        return super().forward(input)

class Leave(torch.nn.Bilinear):
    def forward(self, input1, input2):
        if self.bias is None:
            os._exit(3)
        return super().forward(input1, input2)

class Forkless(Leave):
    first = os.getpid()

    def forward(self, input1, input2):
        if os.getpid() != self.first:
            with open("copies", "a") as copies:
                print(os.getpid(), file=copies)
            os._exit(4)
        return super().forward(input1, input2)

forkless = ModuleBackend("forkless", nn=SimpleNamespace(Bilinear=Forkless))

seen = set()

class Late(torch.nn.Linear):
    def forward(self, input):
        if self.out_features == 1:
            return super().forward(input)
        call = (self.weight.tolist().__repr__(), input.tolist().__repr__())
        if call in seen:
            os.abort()
        seen.add(call)
        return super().forward(input) + 1

Late.__name__ = Late.__qualname__ = "Linear"
late = ModuleBackend("late", nn=SimpleNamespace(Linear=Late))

class Second(torch.nn.Linear):
    def forward(self, input):
        if input.dim() == 2 and len(input) == 1 and input.numel() > 1 and input.any():
            if any(torch.equal(row, input[0]) for row in batches):
                dies()
        if input.dim() == 2 and len(input) > 1:
            batches[:] = input
        return super().forward(input)

batches = []

def dies():
    os.abort()

Second.__name__ = Second.__qualname__ = "Linear"
second = ModuleBackend("second", nn=SimpleNamespace(Linear=Second))

for shaped, name in (
    (Abort, "Conv1d"), (Sleep, "RNNCell"), (Hoard, "Linear"), (Leave, "Bilinear"),
    (Forkless, "Bilinear"),
):
    shaped.__name__ = shaped.__qualname__ = name
evil = ModuleBackend("evil", nn=SimpleNamespace(
    Conv1d=Abort, RNNCell=Sleep, Linear=Hoard, Bilinear=Leave, Identity=torch.nn.Identity
))
"""
EVIL = "--conformance-backend=plugged:evil"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    install_backends_module(pytester, monkeypatch, BACKENDS)

    def run(*options: str) -> tuple[pytest.RunResult, dict[str, dict[str, Any]]]:
        path = pytester.path / "results.jsonl"
        result = run_session(
            pytester, "--conformance-profile=smoke", "--conformance-dtype=float32",
            f"--conformance-results={path}", *options,
        )  # fmt: skip
        return result, _read_verdicts(path)

    return run


def _read_verdicts(path: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[-1]["kind"] == "footer"
    return {line["id"]: line for line in lines if line["kind"] == "verdict"}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow more time for shrinking a crash: where processes start slowly, few tries fit."""
    monkeypatch.setattr(isolated_engine, "SHRINKING_ITEM", 600.0)
    monkeypatch.setattr(isolated_engine, "SHRINKING_RUN", 600.0)


# Each try of a call that hangs takes all its time. The cheaper twin is a function that hangs, in
# tests/backends/test_override.py.
@pytest.mark.parametrize("hangs", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.usefixtures("patient")
def test_what_ends_or_stops_the_process_costs_one_verdict(
    suite: Any, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(isolated_engine, "HANGS", 0.4)
    expected = {"Conv1d": "crashed", "Bilinear": "crashed", "Identity": "passed"}
    expected |= {"RNNCell": "hung"} if hangs else {}
    result, verdicts = suite(
        EVIL, f"--conformance-layer={','.join(expected)}",
        "--conformance-check=values", "--conformance-timeout=3",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    by_layer = {line["layer"]: line for line in verdicts.values()}
    assert {layer: line["status"] for layer, line in by_layer.items()} == expected
    assert by_layer["Conv1d"]["call"] == (
        "Conv1d(2, 2, 1, dilation=2, groups=2) on input (2, 1), float32, cpu"
    )
    assert "SIGABRT (signal 6)" in by_layer["Conv1d"]["message"]
    assert "about to abort" in by_layer["Conv1d"]["message"]
    assert by_layer["Bilinear"]["call"].startswith("Bilinear(1, 1, 1, bias=False) on input1 (1,)")
    assert "exited with status 3" in by_layer["Bilinear"]["message"]
    if hangs:
        assert "no answer within 3 s" in by_layer["RNNCell"]["message"]
        call = by_layer["RNNCell"]["call"]
        assert call.startswith("RNNCell(1, 1, nonlinearity='relu') on input (1,)")
    for layer in expected.keys() - {"Identity"}:
        assert by_layer[layer]["case"]["call"]["layer"] == layer
        compile(by_layer[layer]["reproducer"], layer, "exec")


@pytest.mark.usefixtures("patient")
def test_what_fills_the_memory_costs_one_verdict(suite: Any) -> None:
    # The message of a failed allocation takes seconds on a busy machine.
    result, verdicts = suite(
        EVIL, "--conformance-layer=Linear,Identity",
        "--conformance-check=values", "--conformance-memory=1800",
    )  # fmt: skip
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    by_layer = {line["layer"]: line for line in verdicts.values()}
    assert by_layer["Identity"]["status"] == "passed"
    assert by_layer["Linear"]["status"] == "failed"
    # Whether an allocation fails, and so the smallest case, depends on the memory in use.
    assert re.match(r"Linear\(1, 1\) on input \(\d, \d, 1\), ", by_layer["Linear"]["call"])
    assert "memory" in by_layer["Linear"]["message"]


def _write_known_crash(folder: Path, verdicts: dict[str, dict[str, Any]]) -> str:
    case = json.dumps(verdicts["Bilinear-values-float32-cpu"]["case"])
    known_path = folder / "known.toml"
    known_path.write_text(
        "[[known]]\nlayer = 'Bilinear'\ncheck = '*'\nstatus = 'crashed'\n"
        f"reason = 'exits without a bias'\nwhen = {{ bias = false }}\ncase = '''{case}'''\n"
    )
    return f"--conformance-known={known_path}"


@pytest.mark.parametrize(
    ("name", "processes"), [("evil", 1), pytest.param("forkless", 2, marks=pytest.mark.nightly)]
)
def test_a_known_crash_costs_copies_or_its_cases_are_left_out(
    pytester: pytest.Pytester, suite: Any, tmp_path: Path, name: str, processes: int
) -> None:
    options = ("--conformance-layer=Bilinear", "--conformance-check=values")
    _, verdicts = suite(EVIL, *options)
    known_path = _write_known_crash(tmp_path, verdicts)
    starts = pytester.path / "starts"
    starts.unlink()
    result, verdicts = suite(f"--conformance-backend=plugged:{name}", *options, known_path)
    (line,) = verdicts.values()
    if name == "evil":
        assert line["status"] == "known"
        assert line["examples"]["excused"] == line["excuses"][0]["excused"] > 1
        result.stdout.fnmatch_lines(["*1 known*"])
    else:
        assert line["status"] == "passed"
        assert line["examples"]["left_out"] == line["excuses"][0]["left_out"] > 1
        assert "left out" in line["message"]
    # The pinned case ends a copy of the process, or the process itself if copies do not work.
    # Another process, pytest itself, plans the run.
    assert len(starts.read_text().splitlines()) == 1 + processes
    if name == "forkless":
        # The first process learns that copies do not work; the second makes none.
        assert len((pytester.path / "copies").read_text().splitlines()) == 1
    if name == "evil":
        # Another backend in its place, to which the entry does not apply.
        _, verdicts = suite(*options, known_path)
        (verdict,) = verdicts.values()
        assert (verdict["status"], len(verdict["not_shown"])) == ("passed", 1)


@pytest.mark.nightly
def test_a_failure_that_ends_the_process_while_it_shrinks_is_a_failure(suite: Any) -> None:
    _, verdicts = suite(
        "--conformance-backend=plugged:late", "--conformance-layer=Linear",
        "--conformance-check=values",
    )  # fmt: skip
    (verdict,) = verdicts.values()
    assert verdict["status"] == "failed"
    assert verdict["call"].startswith("Linear(1, 2)")


WORN = """
import conformance.run.engine as engine
from conformance.backends import ModuleBackend

honest, summed_up = engine.argument_columns, []

def argument_columns(cases):
    summed_up.append(1)
    if len(summed_up) > LIMIT:
        raise ERROR("nothing left")
    return honest(cases)

engine.argument_columns = argument_columns
worn = ModuleBackend("worn")
"""


@pytest.mark.parametrize(
    ("error", "limit", "statuses"),
    [
        ("MemoryError", 1, ["passed"] * 3),
        pytest.param("MemoryError", 0, ["crashed"] * 2, marks=pytest.mark.nightly),
        ("KeyError", 1, ["passed", "crashed", "passed"]),
    ],
)
def test_a_process_in_which_the_suite_fails_judges_no_other_item(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    limit: int,
    statuses: list[str],
) -> None:
    install_backends_module(
        pytester, monkeypatch, WORN.replace("LIMIT", str(limit)).replace("ERROR", error)
    )
    child = Child("plugged:worn", 5, 0, (), Limits(60.0))
    engine = IsolatedEngine(child, "worn", 5, 0)
    item = Item("Identity", "values", "float32", "cpu")
    verdicts = [engine.run(item) for _ in statuses]
    engine.close()
    # Only memory that earlier items took does not count against the item.
    assert [verdict.status for verdict in verdicts] == statuses
    crash_messages = [str(verdict.message) for verdict in verdicts if verdict.status == "crashed"]
    assert [("the suite's own code failed" in m, "nothing left" in m) for m in crash_messages] == [
        (True, True)
    ] * statuses.count("crashed")


def test_without_isolation_items_run_in_pytests_process(
    pytester: pytest.Pytester, suite: Any
) -> None:
    result = run_forked_session(
        pytester, "--pyargs", "conformance.suite", EVIL, "--conformance-layer=Bilinear",
        "--conformance-check=values", "--conformance-isolation=none",
    )  # fmt: skip
    assert result.ret == 3  # the backend's own, its os._exit


def test_journal_outlives_its_writer(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.read() == Entry()
    journal.note("checking", 17, 5)
    journal.close()
    assert Journal(tmp_path / "journal").read() == Entry("checking", 17, 5, 1)


@pytest.mark.parametrize(
    ("total", "workers", "share"),
    [
        (10 * MIN_MEMORY, 1, 8 * MIN_MEMORY),
        (10 * MIN_MEMORY, 2, 4 * MIN_MEMORY),
        (10 * MIN_MEMORY, 0, 8 * MIN_MEMORY),
        (10 * MIN_MEMORY, 16, MIN_MEMORY),
        (MIN_MEMORY // 2, 1, MIN_MEMORY),
        (None, 2, None),
    ],
)
def test_workers_share_the_memory(
    monkeypatch: pytest.MonkeyPatch, total: int | None, workers: int, share: int | None
) -> None:
    monkeypatch.setattr(limits, "_total_memory", lambda: total)
    assert limits.memory_per_worker(workers) == share


def test_memory_of_this_machine_is_told() -> None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        pytest.skip("no /proc/meminfo to compare with")
    kilobytes = int(meminfo.read_text(encoding="ascii").split("MemTotal:")[1].split()[0])
    memory = limits._total_memory()
    assert memory is not None
    assert 0 < memory <= kilobytes * 1024


class _Compiler(ModuleBackend):
    compile_seconds = 0.5


def test_a_pinned_hang_has_the_time_of_compiling_in_its_copy() -> None:
    item = Item("Linear", "values", "float32", "cpu")
    wide = next(case for case in cases("Linear") if case.call.arguments["in_features"] > 1)
    case = json.dumps(encode_case(wide))
    entry = "[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'none'\nstatus = 'hung'\n"
    known = parse_entries(f"{entry}when = {{ in_features = '>1' }}\ncase = '{case}'", "here")
    granted: list[float] = []

    def run_in_copy(run: Any, seconds: float) -> Outcome:
        granted.append(seconds)
        return Outcome("passed") if len(granted) <= 2 else Outcome("hung")

    for backend in (_Compiler("compiler"), torch_backend):
        granted.clear()
        engine = Engine(
            backend, 20, 0, known, process=ExpendableProcess(lambda *said: None, run_in_copy)
        )
        assert engine.run(item).status == "known"
        compile_allowance = BUILDS_PER_CHECK * 0.5 if isinstance(backend, _Compiler) else 0.0
        # A plain case has to survive in two copies; then come the pinned and the drawn cases.
        assert granted[:2] == [ALLOWED_SECONDS["crashed"] + compile_allowance] * 2
        assert set(granted[2:]) == {ALLOWED_SECONDS["hung"] + compile_allowance}


@pytest.mark.parametrize("check", ["values", "errors"])
def test_copies_that_hang_once_their_process_has_computed_are_not_trusted(check: str) -> None:
    item = Item("Linear", check, "float32", "cpu")
    when = "{ in_features = '>1' }" if check == "values" else "{ broken = '*' }"
    known = parse_entries(
        f"[[known]]\nlayer = 'Linear'\ncheck = '{check}'\nreason = 'none'\nstatus = 'crashed'\n"
        f"strict = false\nwhen = {when}",
        "here",
    )
    computed: list[str] = []

    class Threaded(ModuleBackend):
        """Starts threads at its first call, as MLX does, but not at a refused call."""

        def build(self, call: Call) -> Any:
            layer = super().build(call)
            forward = layer._forward

            def noting_forward(*inputs: Any, **keywords: Any) -> Any:
                result = forward(*inputs, **keywords)
                computed.append(call.layer)
                return result

            layer._forward = noting_forward
            return layer

    def run_in_copy(run: Any, seconds: float) -> Outcome:
        had_computed = len(computed)
        outcome = run()
        hangs = had_computed and len(computed) > had_computed
        del computed[had_computed:]
        return Outcome("hung") if hangs else outcome

    noted: list[str] = []
    process = ExpendableProcess(
        lambda *said: None, run_in_copy, note_copies_fail=lambda: noted.append("fail")
    )
    engine = Engine(Threaded("threaded"), 20, 0, known, process=process)
    verdict = engine.run(item)
    assert noted == ["fail"]
    assert verdict.status != "failed"
    assert verdict.examples.left_out > 0
    assert verdict.examples.excused == 0


def test_a_case_known_to_crash_whose_copy_hangs_is_left_out() -> None:
    """A framework's threads may hang in a copy now and then; in this process the case crashes."""
    known = parse_entries(
        "[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'none'\nstatus = 'crashed'\n"
        "strict = false\nwhen = { in_features = '>1' }",
        "here",
    )

    class Crashing(ModuleBackend):
        def build(self, call: Call) -> Any:
            assert call.arguments["in_features"] <= 1, "it ran in the engine's own process"
            return super().build(call)

    copies: list[Outcome] = []

    def run_in_copy(run: Any, seconds: float) -> Outcome:
        # A plain case survives in two copies, and copies are trusted from then on.
        copies.append(run() if len(copies) < 2 else Outcome("hung"))
        return copies[-1]

    process = ExpendableProcess(lambda *said: None, run_in_copy)
    engine = Engine(Crashing("crashing"), 20, 0, known, process=process)
    verdict = engine.run(Item("Linear", "values", "float32", "cpu"))
    assert len(copies) > 2
    assert (verdict.status, verdict.examples.failed) == ("passed", 0)
    assert verdict.examples.left_out > 0


def test_a_copy_in_which_plain_cases_end_otherwise_tells_nothing() -> None:
    """torch refuses gradients in copies, once it has started threads; values come out as here."""

    def run_in_copy(run: Any, seconds: float) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(torch.autograd, "grad", refuse)
            return run()

    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("Unable to handle autograd's threading")

    monkeypatch = pytest.MonkeyPatch()
    process = ExpendableProcess(lambda *said: None, run_in_copy)
    engine = Engine(ModuleBackend("alike", base="torch"), 20, 0, (), process=process)
    checks = ("values", "gradients", "values")
    trusted = [engine.forks.can_run(Item("Linear", x, "float32", "cpu")) for x in checks]
    assert trusted == [True, False, True]


GRADIENT_IN_A_COPY = """
import os, torch
from conformance.backends.registry import load
load("torch-export")
torch.export.export(torch.nn.ReLU(), (torch.ones(1),))
backward = torch.ones(1, requires_grad=True).sum().backward
backward()
if not (copy := os.fork()):
    os._exit(torch.ones(1, requires_grad=True).sum().backward() is not None)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))
"""


@pytest.mark.skipif(
    not hasattr(os, "fork") or torch.version.cuda is None or torch.cuda.is_available(),
    reason="only torch for CUDA, without a GPU, pretends one",
)
def test_a_copy_computes_gradients_after_an_export() -> None:
    assert subprocess.call([sys.executable, "-c", GRADIENT_IN_A_COPY]) == 0


def test_a_backend_with_its_own_process_is_not_copied() -> None:
    known = parse_entries(
        "[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'none'\nstatus = 'crashed'\n"
        "strict = false\nwhen = { in_features = '>1' }",
        "here",
    )

    def run_in_copy(run: Any, seconds: float) -> Outcome:
        raise AssertionError("a copy")

    def run_here(run: Any, seconds: float) -> Outcome:
        run()
        return Outcome("crashed")

    process = ExpendableProcess(lambda *said: None, run_in_copy, run_here)
    engine = Engine(ModuleBackend("own"), 20, 0, known, process=process)
    engine.forks._trusted_by_check["values"] = True  # a plain case was answered
    verdict = engine.run(Item("Linear", "values", "float32", "cpu"))
    assert verdict.status == "known"
    assert verdict.examples.excused > 0


def test_a_failure_with_several_threads_is_inherited_though_a_copy_has_none() -> None:
    """The base is asked in a copy of the process, where the check does not apply."""

    def run_in_copy(run: Any, seconds: float) -> Outcome:
        with hooks(in_fork=True):
            return run()

    def judge() -> list[tuple[str, set[str]]]:
        process = ExpendableProcess(lambda *said: None, run_in_copy)
        known = load_entries("alike", base="torch")
        engine = Engine(ModuleBackend("alike", base="torch"), 20, 0, known, process=process)
        items = [Item("functional.lp_pool1d", x, "float32", "cpu") for x in ("values", "threads")]
        return [
            (x.status, {excuse.base for excuse in x.excuses if excuse.excused})
            for x in map(engine.run, items)
        ]

    # A later fork of this process would wait for the threads that it starts.
    assert call_in_fork(judge) == [("known", {"torch"})] * 2


class Mortal(torch.nn.Linear):
    """Ends the process where gradients are recorded."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Only without gradients."""
        if torch.is_grad_enabled():
            os._exit(42)
        return super().forward(input)


mortal = ModuleBackend("mortal", nn=SimpleNamespace(Linear=Mortal))


@pytest.mark.parametrize(("check", "ended"), [("gradients", 42), ("values", 0)])
def test_the_script_of_a_death_does_what_the_check_did_until_then(
    tmp_path: Path, check: str, ended: int
) -> None:
    child = Child("test_isolation:mortal", 1, 0, (), Limits(60.0))
    try:
        item = Item("Linear", check, "float32", "cpu")
        source = child.script(item, cases("Linear")[0], "it died", ends_process=True)
    finally:
        child.stop()
    assert source
    script = tmp_path / "script.py"
    script.write_text(source, encoding="utf-8")
    path = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
    completed = subprocess.run([sys.executable, script], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert completed.returncode == ended, completed.stderr
    assert ("the process is still there" in completed.stdout) == (ended == 0)


MORTAL = """
import os, time
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

class Mortal(torch.nn.Linear):
    def forward(self, input):
        if self.out_features > 3 and self.in_features > 1:
            os.abort() if KIND == "crash" else time.sleep(1e6)
        y = super().forward(input)
        return y if self.bias is not None else y + 1

Mortal.__name__ = Mortal.__qualname__ = "Linear"
mortal = ModuleBackend("mortal", nn=SimpleNamespace(Linear=Mortal))
based = ModuleBackend("based", nn=SimpleNamespace(Linear=Mortal), base="plugged:mortal")
"""


def test_a_crash_names_the_call_and_the_frame_that_ended_the_process(suite: Any) -> None:
    """The law of this test calls one row at a time, after the batch."""
    _, verdicts = suite("--conformance-backend=plugged:second", "--conformance-layer=Linear",
                        "--conformance-check=values,laws")  # fmt: skip
    assert verdicts["Linear-values-float32-cpu"]["status"] == "passed"
    laws = verdicts["Linear-laws-float32-cpu"]
    assert laws["status"] == "crashed"
    assert "on input (1, " in laws["call"]
    assert laws["failure"]["context"][0].startswith("while checking Linear(")
    assert laws["failure"]["frame"].endswith(":dies")
    assert laws["failure"]["what"] == "call"
    assert "/site-packages/" not in laws["message"]
    # The minimal case is sought in pytest's own process.
    assert not Path(".hypothesis").exists()


def test_a_crash_of_the_valid_call_beside_an_invalid_one_names_the_valid_one(
    pytester: pytest.Pytester, suite: Any
) -> None:
    pytester.makepyfile(
        plugged="""
import os
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

class Linear(torch.nn.Linear):
    def forward(self, input):
        if input.shape[-1:] == (self.in_features,) and input.is_floating_point():
            os.abort()
        assert False, "not a refusal, so the valid call is asked, too"

backend = ModuleBackend("mine", nn=SimpleNamespace(Linear=Linear))
"""
    )
    _, verdicts = suite("--conformance-backend=plugged:backend", "--conformance-layer=Linear",
                        "--conformance-check=errors")  # fmt: skip
    verdict = verdicts["Linear-errors-float32-cpu"]
    assert verdict["status"] == "crashed"
    case = verdict["case"]
    assert case["inputs"]["input"]["shape"][-1] == case["call"]["arguments"]["in_features"]
    assert verdict["failure"]["context"][0].startswith("while checking Linear(")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("kind", "status"),
    [("crash", "crashed"), pytest.param("hang", "hung", marks=pytest.mark.nightly)],
)
def test_the_other_cases_of_an_item_are_judged_after_the_process_is_lost(
    pytester: pytest.Pytester, suite: Any, kind: str, status: str
) -> None:
    pytester.makepyfile(plugged=f"KIND = {kind!r}\n{MORTAL}")
    _, verdicts = suite(
        "--conformance-backend=plugged:mortal", "--conformance-layer=Linear",
        "--conformance-check=shape,values", "--conformance-timeout=4", "--conformance-examples=60",
    )  # fmt: skip
    shape, values = verdicts["Linear-shape-float32-cpu"], verdicts["Linear-values-float32-cpu"]
    assert shape["status"] == status
    # The lost case is shrunk: no plainer case crashes or hangs.
    assert shape["call"].startswith("Linear(2, 4")
    checked, left_out = shape["examples"]["checked"], shape["examples"].get("left_out", 0)
    # Cases that hang use up the time: the remaining cases are left out and counted.
    assert checked > (10 if kind == "crash" else 0)
    assert checked + left_out > 10
    # The second check skips the cases that the first one lost, and reports what else is wrong.
    assert values["status"] == "failed"
    assert "wrong of" in values["message"]
    assert values["examples"].get("lost", 0) >= 1
    assert "see Linear-shape-float32-cpu" in values["message"]


@pytest.mark.usefixtures("patient")
def test_what_ends_the_base_alike_is_inherited(pytester: pytest.Pytester, suite: Any) -> None:
    pytester.makepyfile(plugged=f"KIND = 'crash'\n{MORTAL}")
    _, verdicts = suite(
        "--conformance-backend=plugged:based", "--conformance-layer=Linear",
        "--conformance-check=shape", "--conformance-examples=60",
    )  # fmt: skip
    (verdict,) = verdicts.values()
    assert verdict["status"] == "known"
    assert [excuse["base"] for excuse in verdict["excuses"]] == ["plugged:mortal"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
def test_a_process_starts_no_threads_that_its_copies_would_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    child = Child("torch", 1, 0, (), Limits(30))
    with warm.cold():
        child.start()
    try:
        assert child._process is not None
        environment_entries = Path(f"/proc/{child._process.pid}/environ").read_bytes().split(b"\0")
        assert {b"OMP_NUM_THREADS=1", b"MKL_NUM_THREADS=3"} <= {*environment_entries}
    finally:
        child.stop()
