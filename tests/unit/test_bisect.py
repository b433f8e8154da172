"""`nn-conformance bisect`: where a failure begins or ends, and the environments that it needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.commands import environments as environments_module
from conformance.commands.cli import main
from conformance.commands.environments import (
    Environments,
    NotInstalledError,
    suite_requirement,
    supported_versions,
)
from conformance.commands.replay import replay_entries
from conformance.commands.replayed import describe_history, find_changes
from conformance.model.usage_error import UsageError

VERSIONS = [f"2.{k}.0" for k in range(3, 14)]
CASE = (
    '{"call": {"layer": "ReLU", "arguments": {}, "state": {}, "dtype": "float32", "device": "cpu", '
    '"training": false, "layouts": {}}, "inputs": {"input": {"shape": [1], "dtype": "float64", '
    '"data": [1.0]}}, "keywords": {}, "layouts": {}, "labels": {}, "seed": 0}'
)


def _history(outcome: Callable[[int], str]) -> tuple[str, int]:
    """What is said of a history, and how many versions ran.

    Args:
        outcome: minor version → outcome.
    """
    ran = list[str]()

    def run(version: str) -> str:
        ran.append(version)
        return outcome(int(version.split(".")[1]))

    return describe_history("torch", find_changes(VERSIONS, run)), len(ran)


@pytest.mark.parametrize("first_bad", range(4, 14))
def test_the_first_bad_version_is_found_by_halving(first_bad: int) -> None:
    said, count = _history(lambda minor: "fails" if minor >= first_bad else "passes")
    assert said == f"first bad torch 2.{first_bad}.0, last good 2.{first_bad - 1}.0"
    assert count <= 6


def test_a_mended_failure_is_called_so() -> None:
    said, _ = _history(lambda minor: "fails" if minor < 7 else "passes")
    assert said == "mended in torch 2.7.0, last bad 2.6.0"


def test_two_ends_that_are_alike_are_no_more_than_that() -> None:
    said, count = _history(lambda _: "fails")
    assert said == "bad in torch 2.3.0 and in 2.13.0, the oldest and the newest that ran"
    assert count == 2


def test_versions_that_answer_nothing_are_passed_over() -> None:
    def outcome(minor: int) -> str:
        if minor in (3, 4, 8, 9, 13):
            return "not installed"
        return "fails" if minor >= 10 else "passes"

    assert _history(outcome)[0] == "first bad torch 2.10.0, last good 2.7.0"
    assert _history(lambda _: "declined")[0].startswith("nothing is known")
    only = _history(lambda minor: "fails" if minor == 5 else "declined")[0]
    assert only == "bad in torch 2.5.0, the only version that ran the case"


def test_every_change_is_said_where_all_versions_ran() -> None:
    outcomes = dict(zip(VERSIONS[:4], ("passes", "fails", "fails", "passes"), strict=True))
    assert describe_history("torch", outcomes) == (
        "first bad torch 2.4.0, last good 2.3.0; mended in torch 2.6.0, last bad 2.5.0"
    )


# --- environments ---

UV = """#!{python}
import pathlib, sys
arguments = sys.argv[1:]
pathlib.Path({log!r}).open("a").write(" ".join(arguments) + "\\n")
if arguments[0] == "venv":
    place = pathlib.Path(arguments[-1]) / "bin"
    place.mkdir(parents=True)
    (place / "python").touch()
elif "torch==2.9.0" in arguments:
    sys.exit("no wheel of torch==2.9.0")
elif arguments[0] == "tool":
    print("Available versions: 2.14.0rc1, 2.5.1, 2.5.0, 2.4.1+cpu, 2.4.0, 2.2.2, 1.13.1")
"""


@pytest.fixture
def uv_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv that makes empty environments, and the file of its arguments."""
    log, uv = tmp_path / "uv.log", tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(python=sys.executable, log=str(log)))
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(uv.parent))
    return log


def _environments(folder: Path, **options: bool) -> Environments:
    environments = Environments("torch", "torch", folder, **options)
    environments.__dict__["installed"] = "2.13.0"
    return environments


def test_the_last_patch_of_each_supported_minor_release_is_tried(
    uv_log: Path, tmp_path: Path
) -> None:
    assert _environments(tmp_path / "kept").versions() == ["2.4.1", "2.5.1", "2.13.0"]
    supported = supported_versions("torch", "torch")
    assert supported is not None
    assert not supported.specifier.contains("2.2.2")


def test_an_environment_is_made_once(uv_log: Path, tmp_path: Path) -> None:
    made = _environments(tmp_path / "kept")
    python = made.python_of("2.3.1")
    assert python == made.python_of("2.3.1")
    assert Path(python).exists()
    _, install = uv_log.read_text().splitlines()
    assert install.endswith(f"torch==2.3.1 {suite_requirement('torch')} numpy<2")
    assert _environments(tmp_path / "kept", offline=True).versions() == ["2.3.1", "2.13.0"]
    assert made.size() == 0


def test_a_version_without_a_wheel_leaves_nothing_behind(uv_log: Path, tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError, match="no wheel"):
        _environments(tmp_path / "kept").python_of("2.9.0")
    assert list((tmp_path / "kept").iterdir()) == []


def test_nothing_is_made_offline_or_without_uv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match="nothing is downloaded"):
        _environments(tmp_path, offline=True).python_of("2.5.1")
    with pytest.raises(NotInstalledError, match="pip install uv"):
        _environments(tmp_path).python_of("2.5.1")
    assert _environments(tmp_path).python_of("2.13.0") == sys.executable


def test_the_suite_is_installed_from_where_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        version = "1.2"
        metadata = type("Metadata", (), {"get_all": lambda self, name: ["torch"]})()
        origin: str | None = '{"url": "file:///somewhere"}'

        def read_text(self, name: str) -> str | None:
            return self.origin

    monkeypatch.setattr(environments_module.metadata, "distribution", lambda name: Installed())
    assert suite_requirement("torch") == "nn-conformance[torch] @ file:///somewhere"
    assert suite_requirement("somebody's") == "nn-conformance @ file:///somewhere"
    monkeypatch.setattr(Installed, "origin", None)
    assert suite_requirement("torch") == "nn-conformance[torch]==1.2"


# --- entries of known failures ---


def _write_entries(folder: Path, said: str) -> Path:
    """Two entries: one whose case passes, and one without a case."""
    entry = '[[known]]\nlayer = "ReLU"\ncheck = "values"\nreason = "wrong value: none"\n'
    path = folder / "torch.toml"
    path.write_text(
        f"{entry}said = '{said}'\ncase = '''{CASE}'''\n\n{entry}strict = false\n", encoding="utf-8"
    )
    return path


def test_entries_are_replayed_whatever_version_they_are_of(tmp_path: Path) -> None:
    path = _write_entries(tmp_path, "*")
    assert [x.outcome for x in replay_entries(path, "")] == ["passes", "not tried"]
    wrong = "plugged_relu:backend"
    (tmp_path / "plugged_relu.py").write_text(
        "from types import SimpleNamespace\nimport torch\n"
        "from conformance.backends import ModuleBackend\n"
        "class Wrong(torch.nn.ReLU):\n    def forward(self, x):\n        return x + 1\n"
        "backend = ModuleBackend('wrong', nn=SimpleNamespace(ReLU=Wrong))\n"
    )
    for said, outcome in (("*wrong of*", "fails"), ("*IndexError*", "fails otherwise")):
        path = _write_entries(tmp_path, said)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path))
            patch.syspath_prepend(tmp_path)
            (one,) = replay_entries(path, "1", wrong)
        assert one.outcome == outcome, one.text
    with pytest.raises(UsageError, match="expected 1 to 2"):
        next(replay_entries(path, "3"))


def test_bisect_prints_a_line_for_each_version_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write_entries(tmp_path, "*")
    installed = Environments("torch", "torch", tmp_path).installed
    command = ["bisect", str(path), "1", f"--versions=2.3.1,{installed}", "--offline"]
    assert main([*command, f"--cache={tmp_path / 'kept'}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"torch {installed}: passes")
    assert lines[1].startswith("torch 2.3.1: not installed: not there")
    assert lines[2] == f"good in torch {installed}, the only version that ran the case"
    assert main([*command, "--all", f"--cache={tmp_path / 'kept'}"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("torch 2.3.1: not installed")
    assert main(["replay", "--json", str(path), "1"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "passes"
