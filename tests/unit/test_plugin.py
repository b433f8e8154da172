"""The plug-in in real pytest sessions: options, recording, exit status, workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conformance.reports.merge import merge, missing_shards
from conformance.reports.results import read
from support import install_backends_module, run_forked_session, run_refused_session, run_session

pytestmark = pytest.mark.in_fork

BACKENDS = """
import os, time
from types import SimpleNamespace
import torch
from conformance import Unsupported
from conformance.backends import FunctionBackend, ModuleBackend

class Meta(ModuleBackend):
    def devices(self):
        return ["meta"]

class Liar(ModuleBackend):
    def devices(self):
        return ["cpu", "cuda:0"]

class Nothing(FunctionBackend):
    name = "nothing"

class Refusing(ModuleBackend):
    def offers(self, layer, dtype, device):
        return dtype == "float32"

class Dying(torch.nn.Linear):
    def forward(self, input):
        if input.dim() == 3:
            os.abort()
        return super().forward(input)

class Sleeping(torch.nn.Linear):
    def forward(self, input):
        time.sleep(0.05)
        return super().forward(input)

class Wrong(torch.nn.Linear):
    def forward(self, input):
        return super().forward(input) * 1.001

meta, liar, nothing, refusing = Meta("meta"), Liar("liar"), Nothing(), Refusing("refusing")
dying = ModuleBackend("dying", nn=SimpleNamespace(Linear=Dying, Bilinear=torch.nn.Bilinear))
class Losing(torch.nn.Linear):
    def forward(self, input):
        return torch.nn.functional.linear(input, self.weight)

losing = ModuleBackend("losing", nn=SimpleNamespace(Linear=Losing))
wrong = ModuleBackend("wrong", nn=SimpleNamespace(Linear=Wrong))
slow = ModuleBackend("slow", nn=SimpleNamespace(Identity=torch.nn.Identity, Linear=Sleeping))
class Hostile(ModuleBackend):
    pass
hostile = Hostile("<script>alert(1)</script>", nn=SimpleNamespace(Linear=Wrong))
"""


# Spares processes and their imports where losing one is not what is tested.
ONE_PROCESS = "--conformance-isolation=none"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    install_backends_module(pytester, monkeypatch, BACKENDS)

    def run(*options: str, profile: str = "smoke") -> pytest.RunResult:
        # Two checks are enough to see the plug-in at work.
        if not any(option.startswith("--conformance-check") for option in options):
            options = (*options, "--conformance-check=shape,values")
        return run_session(pytester, f"--conformance-profile={profile}", *options)

    return run


def _read_verdicts(path: Path) -> list[dict[str, Any]]:
    """The verdicts of a results file without times: two runs of one seed must agree in them."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    verdict_lines = [line for line in lines if line["kind"] == "verdict"]
    for line in verdict_lines:
        line.pop("seconds", None)
    return sorted(verdict_lines, key=lambda line: str(line["id"]))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("backend=torhc", "did you mean 'torch'"),
        ("backend=plugged:missing", "has no attribute 'missing'"),
        ("backend=plugged:BACKEND:x", "no attribute"),
        ("layer=Conv4d", "no layer 'Conv4d'; nearest: Conv"),
        ("family=convolutions", "no family 'convolutions'"),
        ("layer=,", "expected a comma list"),
        ("check=value", "no check 'value'; nearest: values"),
        ("dtype=float8", "no dtype 'float8'"),
        ("device=cuda:7", "offers cpu"),
        ("profile=brisk", "expected one of smoke, quick, standard, thorough"),
        ("examples=none", "expected an integer"),
        ("examples=0", "at least 1"),
        ("seed=1.5", "expected an integer"),
        ("shard=3/2", "expected i/N with 1 ≤ i ≤ N"),
        ("shard=one", "expected i/N"),
        ("known=missing.toml", "missing.toml: "),
        ("budget=soon", "expected seconds of the whole run"),
        ("timeout=0", "at least 1"),
        ("isolation=thread", "expected one of process, none"),
        ("report=.", "expected a file, this is a folder"),
    ],
)
@pytest.mark.usefixtures("suite")
def test_bad_options_are_usage_errors(pytester: pytest.Pytester, option: str, message: str) -> None:
    assert message in run_refused_session(pytester, f"--conformance-{option}")


def test_a_bad_option_ends_a_process_of_its_own_as_well(suite: Any) -> None:
    result = suite("--conformance-backend=torhc", "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "did you mean 'torch'" in result.stderr.str()


def test_environment_twins_and_their_errors(
    suite: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFORMANCE_LAYER", "Linea?")
    monkeypatch.setenv("CONFORMANCE_DTYPE", "float64")
    result = suite(ONE_PROCESS)
    result.stdout.fnmatch_lines(["*2 passed*"])
    monkeypatch.setenv("CONFORMANCE_SEED", "x")
    assert "CONFORMANCE_SEED=x: expected an integer" in run_refused_session(pytester)


@pytest.mark.parametrize("processes", [ONE_PROCESS, pytest.param("-n1", marks=pytest.mark.nightly)])
def test_items_left_out_by_pytest_are_not_missing_and_nothing_is_left_behind(
    suite: Any, pytester: pytest.Pytester, processes: str
) -> None:
    names_before = {path.name for path in pytester.path.iterdir()}
    result = suite(
        "--conformance-layer=Linear", "-k", "float32", "--conformance-results=r.jsonl", processes
    )  # fmt: skip
    assert result.ret == 0
    assert "cut short" not in result.stdout.str()
    run = read(pytester.path / "r.jsonl")
    assert run.footer is not None
    assert set(run.identity.items) == {verdict.id for verdict in run.verdicts}
    assert len(run.verdicts) == 2
    new_names = {path.name for path in pytester.path.iterdir()} - names_before
    assert not new_names & {".benchmarks", ".hypothesis"}


def test_header_table_and_files(suite: Any, pytester: pytest.Pytester) -> None:
    result = suite(
        "--conformance-layer=Linear,GRUCell", "--conformance-results=out/r.jsonl",
        "--conformance-report=out/r.html", "--conformance-seed=5", "-v", ONE_PROCESS,
    )  # fmt: skip
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "conformance: backend torch (*torch 2.*",
            "*unlisted differences fail the run",
            "conformance: device cpu; profile smoke, up to 40 examples an item, seed 5;*",
            "*test_layer[[]GRUCell-shape-float32-cpu[]] PASSED*",
            "layer * shape * values*",
            "Linear*4 passed (*compared)*",
            "16 passed",
            "results: *r.jsonl",
            "report: *r.html",
        ]
    )
    run = read(pytester.path / "out" / "r.jsonl")
    assert run.footer is not None
    assert run.footer.counts["passed"] == run.footer.verdicts == 16
    assert "GRUCell" in (pytester.path / "out" / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("layers", "dtypes", "items"),
    [
        ("Bilinear,LSTMCell", "float32,bfloat16", 8),
        pytest.param(
            "Conv1d,LSTM,functional.linear,Bilinear", "float32,float64,bfloat16,float16", 32,
            marks=pytest.mark.nightly,
        ),
    ],
)  # fmt: skip
def test_same_results_with_and_without_workers(
    suite: Any, pytester: pytest.Pytester, layers: str, dtypes: str, items: int
) -> None:
    chosen = (f"--conformance-layer={layers}", f"--conformance-dtype={dtypes}")
    # Once in this process, once in those that two workers have of their own.
    assert suite(*chosen, ONE_PROCESS, "--conformance-results=a.jsonl").ret == 0
    assert suite(*chosen, "-n2", "--conformance-results=b.jsonl").ret == 0
    a, b = _read_verdicts(pytester.path / "a.jsonl"), _read_verdicts(pytester.path / "b.jsonl")
    assert a == b
    assert len(a) == items


def test_shards_are_disjoint_and_complete(suite: Any, pytester: pytest.Pytester) -> None:
    chosen = ("--conformance-layer=Linear,Identity", ONE_PROCESS)
    ids: list[str] = []
    for index in (1, 2):
        name = f"{index}.jsonl"
        suite(*chosen, f"--conformance-shard={index}/2", f"--conformance-results={name}")
        ids += [v["id"] for v in _read_verdicts(pytester.path / name)]
    assert len(ids) == len(set(ids)) == 16


def test_shards_by_cost_are_disjoint_and_complete_and_may_be_empty(
    suite: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("--conformance-layer=Linear,Identity", "--conformance-check=shape,values")
    chosen = (*chosen, "--conformance-dtype=float32", ONE_PROCESS)
    suite(*chosen, "--conformance-results=whole.jsonl")
    monkeypatch.setenv("CI_NODE_TOTAL", "5")
    for index in range(1, 6):
        monkeypatch.setenv("CI_NODE_INDEX", str(index))
        costs, name = "--conformance-costs=whole.jsonl", f"--conformance-results={index}.jsonl"
        assert suite(*chosen, "--conformance-shard=auto", costs, name).ret == 0
    shards = [read(pytester.path / f"{index}.jsonl") for index in range(1, 6)]
    assert [run.identity.shard for run in shards] == [f"{k}/5" for k in range(1, 6)]
    assert min(len(run.verdicts) for run in shards) == 0  # four items
    assert all(run.footer is not None for run in shards)
    whole = merge(shards)
    assert missing_shards(whole) == ()
    assert len(whole.verdicts) == len(read(pytester.path / "whole.jsonl").verdicts) == 4


def test_failure_shows_the_minimal_call_and_how_to_see_it_again(
    suite: Any, pytester: pytest.Pytester
) -> None:
    result = suite(
        "--conformance-backend=plugged:wrong", "--conformance-layer=Linear",
        "--conformance-dtype=float32", "--conformance-results=r.jsonl", ONE_PROCESS,
    )  # fmt: skip
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*Linear(1, 1*) on input (*", "*got *", "*wanted *", "*bound *"])
    (failed,) = [v for v in read(pytester.path / "r.jsonl").verdicts if v.status == "failed"]
    import shlex

    name, *options = shlex.split(str(failed.command))
    assert name == "pytest"
    rerun = run_forked_session(pytester, *options)
    assert rerun.ret == 1
    assert str(failed.message).splitlines()[0] in rerun.stdout.str()


@pytest.mark.parametrize("workers", [ONE_PROCESS, pytest.param("-n1", marks=pytest.mark.nightly)])
def test_junit_holds_message_and_call_and_no_data(
    suite: Any, pytester: pytest.Pytester, workers: str
) -> None:
    suite(
        "--conformance-backend=plugged:wrong", "--conformance-layer=Linear", workers,
        "--conformance-dtype=float32", "--junitxml=j.xml", "--conformance-results=r.jsonl",
    )  # fmt: skip
    assert len(read(pytester.path / "r.jsonl").verdicts) == 2
    text = (pytester.path / "j.xml").read_text(encoding="utf-8")
    assert "conformance-verdict" not in text
    assert "{&quot;" not in text
    tests = {case.get("name"): case for case in ElementTree.fromstring(text).iter("testcase")}
    passed, failed = (
        tests[f"test_layer[Linear-{check}-float32-cpu]"] for check in ("shape", "values")
    )
    assert not list(passed)
    facts = {p.get("name"): p.get("value") for p in failed.iter("property")}
    assert str(facts["call"]).startswith("Linear(")
    assert {"got", "wanted"} <= facts.keys()
    (failure,) = failed.iter("failure")
    message = str(failure.get("message"))
    assert message.startswith(f"Failed: {facts['call']}\n")
    assert f"  got    {facts['got']}\n  wanted {facts['wanted']}\n" in message
    assert "--conformance-layer=Linear" in str(failure.text)


LOSING = ("--conformance-backend=plugged:losing", "--conformance-layer=Linear", ONE_PROCESS)


def test_failures_are_told_by_cause_and_item_by_item_where_that_is_asked_for(
    suite: Any, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_own="def test_own():\n    assert 1 == 2, 'of my own'\n")
    chosen = (*LOSING, "--conformance-dtype=float32,float64", "test_own.py")
    summary = suite(*chosen)
    assert summary.ret == 1
    summary.stdout.fnmatch_lines(
        [
            "*of my own*",
            "*= conformance of losing =*",
            "1. Linear: wrong values (2 items)",
            "   Linear(*, float32, cpu",
            "     got *",
            "     wanted *",
            "   needs bias=True*",
            "Every item's message in full: -v",
            "*3 failed, 2 passed*",
        ]
    )
    summary_text = summary.stdout.str()
    assert "FAILED test_own.py::test_own" in summary_text
    assert "FAILED test_layers" not in summary_text
    assert "_ test_layer[Linear" not in summary_text
    assert "\x1b" not in summary_text
    ours = summary_text.partition("= conformance of losing =")[2].splitlines()
    assert max(map(len, ours)) <= 80
    verbose_text = suite(*chosen, "-v").stdout.str()
    assert "_ test_layer[Linear-values-float32-cpu] _" in verbose_text
    assert "\nneeds bias=True\n" in verbose_text
    assert "in full: -v" not in verbose_text
    single_text = suite(*LOSING, "--conformance-dtype=float32").stdout.str()
    assert "_ test_layer[Linear-values-float32-cpu] _" in single_text


def test_colour_where_there_is_a_terminal_or_it_is_asked_for(suite: Any) -> None:
    output = suite(*LOSING, "--color=yes").stdout.str()
    assert "\x1b[31mLinear  ✗ failed: values\x1b[0m" in output
    assert "\x1b[1m1 likely cause of failure:\x1b[0m" in output
    assert "\x1b[31m1. Linear: wrong values (4 items)\x1b[0m" in output


@pytest.mark.parametrize("workers", [ONE_PROCESS, pytest.param("-n1", marks=pytest.mark.nightly)])
def test_a_github_job_has_an_annotation_a_cause(
    suite: Any, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = suite(*LOSING, "--color=yes", workers).outlines
    (annotation,) = (line for line in lines if "::error" in line)
    assert annotation.startswith("::error title=Linear%3A wrong values with bias=True::Linear(")
    assert "\x1b" not in annotation


@pytest.mark.parametrize("workers", [ONE_PROCESS, pytest.param("-n1", marks=pytest.mark.nightly)])
def test_a_run_in_which_nothing_passes_exits_1_and_says_so(suite: Any, workers: str) -> None:
    result = suite("--conformance-backend=plugged:nothing", "--conformance-layer=Linear", workers)
    opening = "conformance: backend nothing; unlisted differences fail the run"
    assert opening in " ".join(result.outlines)
    assert result.ret == 1
    assert "one passed" in result.stdout.str()  # "None passed" or "none passed"


def test_offered_dtypes_narrow_the_default_and_not_what_is_asked_for(suite: Any) -> None:
    chosen = ("--conformance-backend=plugged:refusing", "--conformance-layer=Linear", ONE_PROCESS)
    assert "2 passed" in suite(*chosen).outlines
    requested = suite(*chosen, "--conformance-dtype=float32,float64")
    assert "2 passed, 2 unsupported" in requested.outlines


def test_devices(suite: Any, pytester: pytest.Pytester) -> None:
    assert "offers meta" in run_refused_session(
        pytester, "--conformance-backend=plugged:meta", "--conformance-device=cpu",
        "--conformance-layer=Conv2d",
    )  # fmt: skip
    result = suite(
        "--conformance-backend=plugged:meta", "--conformance-layer=Conv2d,GRU",
        "--conformance-dtype=float32", ONE_PROCESS,
    )  # fmt: skip
    result.stdout.fnmatch_lines(["2 passed, 2 unsupported"])
    result = suite(
        "--conformance-backend=plugged:liar", "--conformance-device=all",
        "--conformance-layer=Linear", "--conformance-dtype=float32", ONE_PROCESS,
    )  # fmt: skip
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*Linear(*) on input *, float32, cuda:0*", "*build raised *"])
    assert "INTERNALERROR" not in result.stdout.str()


def test_complex_dtypes_on_request(suite: Any) -> None:
    result = suite(
        "--conformance-layer=Conv2d,Bilinear", "--conformance-dtype=complex64", ONE_PROCESS
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["4 passed"])


@pytest.mark.parametrize("workers", ["-n1", pytest.param("-n2", marks=pytest.mark.nightly)])
def test_worker_crash_leaves_a_verdict_and_the_rest(
    suite: Any, pytester: pytest.Pytester, workers: str
) -> None:
    result = suite(
        "--conformance-backend=plugged:dying", "--conformance-layer=Linear,Bilinear",
        "--conformance-dtype=float32", workers, "--conformance-results=r.jsonl",
        "--conformance-report=r.html",
    )  # fmt: skip
    assert result.ret == 1
    run = read(pytester.path / "r.jsonl")
    status = {verdict.id: verdict.status for verdict in run.verdicts}
    verdicts = {verdict.id: verdict for verdict in run.verdicts}
    linear = [verdicts[f"Linear-{check}-float32-cpu"] for check in ("shape", "values")]
    assert linear[0].status == "crashed"
    # In the same process the second does not run what ended the first.
    assert linear[1].status == "crashed" or "see Linear-shape" in str(linear[1].message)
    assert status["Bilinear-values-float32-cpu"] == "passed"
    assert run.footer is not None
    assert "crashed" in (pytester.path / "r.html").read_text(encoding="utf-8")


def test_interrupt_leaves_a_readable_file(suite: Any, pytester: pytest.Pytester) -> None:
    command = [
        sys.executable, "-m", "pytest", "-pwarm", "--pyargs", "conformance.suite",
        "--conformance-backend=plugged:slow", "--conformance-layer=Identity,Linear",
        "--conformance-check=shape,values",
        "--conformance-results=r.jsonl", "--conformance-report=r.html",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL)
    path = pytester.path / "r.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().count('"verdict"') >= 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == pytest.ExitCode.INTERRUPTED
    run = read(path)
    assert len(run.verdicts) >= 2
    assert run.footer is None
    assert (pytester.path / "r.html").exists()


def test_hostile_backend_name_is_harmless(suite: Any, pytester: pytest.Pytester) -> None:
    suite(
        "--conformance-backend=plugged:hostile", "--conformance-layer=Linear",
        "--conformance-dtype=float32", "--conformance-report=r.html", ONE_PROCESS,
    )  # fmt: skip
    page = (pytester.path / "r.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "<h1>&lt;script&gt;alert(1)" in page


def test_unsafe_distribution_is_refused(suite: Any) -> None:
    result = suite("-n2", "--dist=loadscope", "--conformance-layer=Linear")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected worksteal" in result.stderr.str()


def test_other_sessions_do_not_notice_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            assert not {"torch", "hypothesis.strategies", "jinja2"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-p", "no:xdist")
    result.assert_outcomes(passed=1)
    assert "conformance:" not in result.stdout.str()
