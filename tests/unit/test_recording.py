"""If an output file is lost or cannot be written, the run says so and is not green."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from conformance.reports.results import Identity, encode_line, parse, read
from support import install_backends_module, run_session

from conformance.model.case import Examples, Verdict
from conformance.plugin import recording
from conformance.plugin.progress import Progress
from conformance.plugin.shared import VERDICT_PROPERTY

pytestmark = pytest.mark.in_fork

BACKENDS = """
import os, shutil
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

def _once(act):
    class Linear(torch.nn.Linear):
        def forward(self, input):
            if os.path.exists("out"):
                act()
            return super().forward(input)
    return ModuleBackend("plain", nn=SimpleNamespace(Linear=Linear))

def _replace():
    os.unlink("out/r.jsonl")
    with open("out/r.jsonl", "w") as file:
        file.write("somebody else's")
    os.rename("out", "kept")
    os.mkdir("out2")

removing = _once(lambda: shutil.rmtree("out"))
unlinking = _once(lambda: os.path.exists("out/r.jsonl") and os.unlink("out/r.jsonl"))
replacing = _once(lambda: os.path.exists("out/r.jsonl") and os.replace("other", "out/r.jsonl")
                  if os.path.exists("other") else None)
blocking = _once(lambda: os.path.exists("out/page") or open("out/page", "w").close())
plain = _once(lambda: None)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    install_backends_module(pytester, monkeypatch, BACKENDS)

    def run(backend: str, *options: str) -> pytest.RunResult:
        return run_session(
            pytester, "--conformance-isolation=none", "--conformance-examples=3",
            "--conformance-layer=Linear", "--conformance-check=shape,values",
            "--conformance-dtype=float32", f"--conformance-backend=plugged:{backend}", *options,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("removing", "gone during the run"),
        ("unlinking", "gone during the run"),
        ("replacing", "replaced during the run by another file"),
    ],
)
def test_results_that_are_lost_during_the_run_are_no_success(
    suite: Any, pytester: pytest.Pytester, backend: str, said: str
) -> None:
    (pytester.path / "out").mkdir()
    (pytester.path / "other").write_text("somebody else's")
    result = suite(backend, "--conformance-results=out/r.jsonl", "--conformance-report=p.html")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"not written: results: *r.jsonl: {said}*", "report: *p.html"])
    result.stdout.no_fnmatch_line("results: *")
    if backend == "replacing":
        assert (pytester.path / "out" / "r.jsonl").read_text() == "somebody else's"


@pytest.mark.parametrize("option", ["report", "summary"])
def test_a_page_that_cannot_be_written_is_no_success(
    suite: Any, pytester: pytest.Pytester, option: str
) -> None:
    (pytester.path / "out").mkdir()
    for backend, path in (("plain", "/dev/full"), ("blocking", "out/page/p.html")):
        result = suite(backend, f"--conformance-{option}={path}", "--conformance-results=r.jsonl")
        assert result.ret == pytest.ExitCode.TESTS_FAILED, path
        result.stdout.fnmatch_lines([f"not written: {option}: *{path}: *", "results: *r.jsonl"])
        result.stdout.no_fnmatch_line(f"{option}: *")
    run = read(pytester.path / "r.jsonl")
    assert run.footer is not None


def test_a_full_disk_is_a_usage_error_at_once(suite: Any) -> None:
    result = suite("plain", "--conformance-results=/dev/full")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--conformance-results=/dev/full: No space left on device" in result.stderr.str()


def test_what_is_always_empty_can_be_written_to(suite: Any) -> None:
    result = suite("plain", "--conformance-results=/dev/null", "--conformance-report=/dev/null")
    assert result.ret == 0
    assert Path("/dev/null").is_char_device()


def test_an_item_that_ends_without_a_verdict_is_no_pass(
    suite: Any, pytester: pytest.Pytester
) -> None:
    (pytester.path / "silent_judge.py").write_text(
        "import pytest\nfrom conformance.plugin.session import Session\n"
        "Session.judge = lambda self, node, item: pytest.skip('nothing to see')\n"
    )
    result = suite("plain", "-p", "silent_judge", "--conformance-results=r.jsonl")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    verdicts = read(pytester.path / "r.jsonl").verdicts
    assert [verdict.status for verdict in verdicts] == ["crashed", "crashed"]
    assert all("nothing to see" in str(verdict.message) for verdict in verdicts)


MANY = 1000


class Unwalked(list[Verdict]):
    """A list that refuses iteration: iterating at each verdict would take quadratic time."""

    def __iter__(self) -> Any:
        raise AssertionError("all verdicts so far are walked")


def _make_run() -> tuple[Identity, list[Verdict]]:
    """The first line of a run of many items, and their verdicts."""
    (*ids,) = (f"Layer{k}-values-float32-cpu" for k in range(MANY))
    run = parse([msgspec.json.encode({"kind": "run", "items": ids, "total": MANY})])
    verdicts = [
        Verdict(id, id.partition("-")[0], "values", "float32", "cpu", "passed", Examples(1, 1))
        for id in ids
    ]
    return run.identity, verdicts


def _make_recorder(identity: Identity, path: Path | None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recorder of a run with this identity, on stand-ins for pytest's objects."""
    monkeypatch.setattr(recording, "_identity", lambda session: identity)
    session = SimpleNamespace(
        items=(),
        settings=SimpleNamespace(results=path, survey=False),
        benchmarks=SimpleNamespace(started=int),
    )
    session.recorder = recording.Recorder(session)  # type: ignore[arg-type]
    return session.recorder


def _make_report(id: str, line: str) -> pytest.TestReport:
    place = (f"test_layers.py::test_layer[{id}]", ("test_layers.py", 0, "test_layer"))
    return pytest.TestReport(
        *place, {}, "passed", None, "call", user_properties=[(VERDICT_PROPERTY, line)]
    )


def test_a_verdict_costs_its_own_line_however_many_items_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, verdicts = _make_run()
    recorder = _make_recorder(identity, tmp_path / "r.jsonl", monkeypatch)
    recorder.pytest_sessionstart()
    recorder.verdicts = Unwalked()
    progress = Progress(recorder.session)
    lines = [encode_line(verdict) for verdict in verdicts]
    encoded: list[int] = []
    encode, decode = msgspec.json.encode, msgspec.json.decode

    def counting_encode(*objects: Any, **options: Any) -> bytes:
        line = encode(*objects, **options)
        encoded.append(len(line))
        return line

    def counting_decode(line: bytes, **options: Any) -> Any:
        encoded.append(len(line))
        return decode(line, **options)

    monkeypatch.setattr(msgspec.json, "encode", counting_encode)
    monkeypatch.setattr(msgspec.json, "decode", counting_decode)
    for verdict, line in zip(verdicts, lines, strict=True):
        recorder.pytest_runtest_logreport(_make_report(verdict.id, line.decode()))
        progress.status_line(1.0)
    assert recorder.trouble == []
    assert len(recorder.verdicts) == MANY
    assert 0 < sum(encoded) <= 2 * sum(map(len, lines))


def test_the_time_left_is_counted_from_the_first_verdict_and_told_late() -> None:
    """A slow start and few slow items make a first estimate that is many times too long."""
    recorder = SimpleNamespace(verdicts={}, bad=0)
    settings = SimpleNamespace(survey=False)
    progress = Progress(
        SimpleNamespace(items=range(200), recorder=recorder, settings=settings)  # type: ignore[arg-type]
    )
    progress._first_verdict = 100.0
    for done, now, text in (
        (1, 100.0, "1 of 200 items (0%), 0 failing"),
        (19, 118.0, "19 of 200 items (9%), 0 failing"),
        (101, 200.0, "101 of 200 items (50%), 0 failing, about 2 min left"),
        (200, 300.0, "200 of 200 items (100%), 0 failing"),
    ):
        recorder.verdicts = range(done)
        assert progress.status_line(now) == text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "Input data was truncated"),
        ('{"kind": "footer"}', "a line of kind 'footer'"),
        ('{"kind": "verdict", "id": "x"}', "missing required field"),
        ('{"kind": "verdict", "x": ' + 50 * "[" + 50 * "]" + "}", "nested deeper than 32"),
        ('{"kind": "verdict", "x": ' + 100_000 * "[" + 100_000 * "]" + "}", "recursion"),
        ('{"kind": "verdict", "x": "\udc80"}', "utf-8"),
    ],
)
def test_what_a_worker_sends_in_place_of_a_verdict_is_trouble(
    monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    recorder = _make_recorder(_make_run()[0], None, monkeypatch)
    recorder.pytest_runtest_logreport(_make_report("Layer0-values-float32-cpu", line))
    (trouble,) = recorder.trouble
    assert trouble.startswith("verdict: ")
    assert reason.lower() in trouble.lower()
    assert not recorder.verdicts
