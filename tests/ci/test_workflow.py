"""The workflow to copy and the action, run as plain bash, do what they document."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml", reason="needs PyYAML")

from conformance.reports.results import read as read_results
from plain_runner import Runner, StepResult, WorkflowError, read, steps, used_actions

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "docs/ci/conformance.yml"
ACTION = ROOT / "action.yml"
FILES = [WORKFLOW, ACTION, *sorted((ROOT / ".github/workflows").glob("*.yml"))]
SMALL = {
    "CONFORMANCE_BACKEND": "torch",
    "CONFORMANCE_PROFILE": "smoke",
    "CONFORMANCE_LAYER": "ReLU,Softsign",
    "CONFORMANCE_CHECK": "shape,values,repeat",
    "CONFORMANCE_DTYPE": "float32",
}
"""Six items, some of them in each of three shards."""

GH = """#!/usr/bin/env bash
# A stand-in for the command line gh: FAKE_RUN is the last run, FAKE_RESULTS its file.
set -eu
case "$1 $2" in
  "run list") echo "${FAKE_RUN}" ;;
  "run download")
    test "$3" = "$FAKE_RUN"; test -n "$FAKE_RESULTS" || exit 1
    while [ "$1" != --dir ]; do shift; done
    mkdir -p "$2"; cp "$FAKE_RESULTS" "$2/results.jsonl" ;;
  *) echo "unexpected: gh $*" >&2; exit 2 ;;
esac
"""


@pytest.fixture(scope="module")
def workflow() -> Any:
    return read(WORKFLOW)


@pytest.fixture(scope="module")
def shards(workflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts of the shards' jobs, as the report's job downloads them."""
    job = workflow["jobs"]["suite"]
    folder = tmp_path_factory.mktemp("suite")
    artefacts = folder / "shards"
    artefacts.mkdir()
    for shard in job["strategy"]["matrix"]["shard"]:
        env = {**{k: str(v) for k, v in workflow["env"].items()}, **SMALL}
        runner = Runner(folder / f"job{shard}", env, {"matrix.shard": str(shard)})
        for step in steps(job):
            if step["name"] != "Install":
                result = runner.run(step)
                assert result.code == 0, result.text
        (upload,) = [s["with"] for s in job["steps"] if "upload-artifact" in s.get("uses", "")]
        (made,) = runner.folder.glob(upload["path"])
        shutil.copy(made, artefacts)
    return artefacts


class ReportJob:
    """The report job, run to its end on some shards."""

    def __init__(
        self, workflow: Any, shards: Path, place: Path, last_run: str, results: str
    ) -> None:
        bin = place / "bin"
        bin.mkdir()
        (bin / "gh").write_text(GH)
        (bin / "gh").chmod(0o755)
        env = {**{k: str(v) for k, v in workflow["env"].items()}, **SMALL}
        env |= {"FAKE_RUN": last_run, "FAKE_RESULTS": results}
        context = {"github.token": "none", "github.event.repository.default_branch": "main"}
        self.runner = Runner(place / "report", env, context)
        self.folder = self.runner.folder
        shutil.copytree(shards, self.folder / "shards")
        self.results_by_step: dict[str, StepResult] = {}
        for step in steps(workflow["jobs"]["report"]):
            if step["name"] != "Install" and self._is_due(str(step.get("if", ""))):
                # The step must not call the real gh.
                script = f'export PATH="{bin}:$PATH"\n{step["run"]}'
                self.results_by_step[step["name"]] = self.runner.run({**step, "run": script})

    def _is_due(self, condition: str) -> bool:
        """Whether a step runs by its condition; no job is cancelled here."""
        if condition in ("", "${{ !cancelled() }}"):
            return True
        status_check = re.fullmatch(
            r"\$\{\{ !cancelled\(\) && steps\.(\w+)\.outcome == 'success' \}\}", condition
        )
        assert status_check is not None, condition
        return self.results_by_step[status_check[1].capitalize()].code == 0

    @property
    def codes(self) -> dict[str, int]:
        """The exit status of each step."""
        return {name: result.code for name, result in self.results_by_step.items()}

    @property
    def summary(self) -> str:
        """The text of the job's page."""
        return self.runner.file("summary").read_text(encoding="utf-8")


def test_shards_become_one_run_with_summary_badge_and_report(
    workflow: Any, shards: Path, tmp_path: Path
) -> None:
    report = ReportJob(workflow, shards, tmp_path, "", "")
    assert set(report.codes.values()) == {0}, report.results_by_step
    shard_runs = [read_results(path) for path in sorted(shards.iterdir())]
    joined = read_results(report.folder / "results.jsonl")
    assert len(shard_runs) == workflow["env"]["SHARDS"]
    assert joined.identity.shard == "1/1"
    assert len(joined.verdicts) == sum(len(shard_run.verdicts) for shard_run in shard_runs) == 6
    assert joined.footer is not None
    assert joined.footer.counts["passed"] == joined.footer.verdicts == 6
    assert "valid, 6 verdicts" in report.results_by_step["Verify"].text
    assert report.summary.startswith("## ✓ torch: conformant")
    assert (
        "no finished run on main yet" in report.results_by_step["Last run on the main branch"].text
    )
    assert "_Not compared: no results of the main branch._" in report.summary
    badge = (report.folder / "badge.svg").read_text(encoding="utf-8")
    assert "nn-conformance torch: 100 % of 6 passed" in badge.replace("\u202f", " ").replace(
        "\xa0", " "
    )
    kept_paths = workflow["jobs"]["report"]["steps"][-1]["with"]["path"].split()
    assert {name for name in kept_paths if (report.folder / name).exists()} == {*kept_paths} - {
        "compare.html"
    }


def _change_run(shards: Path, place: Path, **changes: Any) -> str:
    """Write one run of the shards' verdicts, whose header has other values."""
    lines = [line for path in sorted(shards.iterdir()) for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    first = next(header for header in records if header["kind"] == "run")
    verdicts = [header for header in records if header["kind"] == "verdict"]
    footer = {"kind": "footer", "counts": {"passed": len(verdicts)}, "verdicts": len(verdicts)}
    footer |= {"seconds": 1.0, "finished": first["started"]}
    first |= {"shard": "1/1", "items": [verdict["id"] for verdict in verdicts], **changes}
    path = place / "main.jsonl"
    path.write_text("".join(json.dumps(header) + "\n" for header in [first, *verdicts, footer]))
    return str(path)


def test_the_last_run_on_main_is_compared(workflow: Any, shards: Path, tmp_path: Path) -> None:
    report = ReportJob(workflow, shards, tmp_path, "17", _change_run(shards, tmp_path))
    assert set(report.codes.values()) == {0}, report.results_by_step
    assert "**Beside the main branch:** Nothing changed: 6 items are as they were." in (
        report.summary
    )
    assert (report.folder / "compare.html").exists()


def test_a_run_of_another_suite_is_told_and_not_compared(
    workflow: Any, shards: Path, tmp_path: Path
) -> None:
    last_run = _change_run(shards, tmp_path, suite="0.0.1")
    report = ReportJob(workflow, shards, tmp_path, "17", last_run)
    assert report.codes["Compare"] == 0
    assert "unlike runs: suite: 0.0.1 and" in report.summary
    assert "::warning::not compared" in report.results_by_step["Compare"].text


def test_results_that_are_gone_are_told(workflow: Any, shards: Path, tmp_path: Path) -> None:
    report = ReportJob(workflow, shards, tmp_path, "17", "")
    text = report.results_by_step["Last run on the main branch"].text
    assert "::warning::run 17 on main has no results any more" in text
    assert report.codes["Compare"] == 0


def test_a_missing_shard_fails_the_job_and_is_named(
    workflow: Any, shards: Path, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(shards, fewer)
    (fewer / "shard-2.jsonl").unlink()
    report = ReportJob(workflow, fewer, tmp_path, "", "")
    assert report.codes["Merge"] == report.codes["Verify"] == 1
    assert "incomplete: shards missing: 2/3" in report.results_by_step["Merge"].text
    assert report.summary.startswith("## ✗ not a whole run")
    assert "shard 2/3 is missing" in report.summary
    assert not (report.folder / "badge.svg").exists()


def _run_suite_step(tmp_path: Path, **inputs: str) -> tuple[Runner, StepResult]:
    """The action's step that runs the suite."""
    action = read(ACTION)
    defaults = {name: str(value["default"]) for name, value in action["inputs"].items()}
    context = {f"inputs.{name}": value for name, value in {**defaults, **inputs}.items()}
    runner = Runner(
        tmp_path / "action",
        {"CONFORMANCE_CHECK": "shape,values"},
        context,
    )
    (step,) = steps(action["runs"], "Suite")
    return runner, runner.run(step)


def test_the_action_runs_the_suite(tmp_path: Path) -> None:
    inputs = {"profile": "smoke", "layer": "ReLU", "dtype": "float32", "shards": "1"}
    runner, result = _run_suite_step(tmp_path, **inputs, arguments="-p no:cacheprovider")
    assert result.code == 0, result.text
    assert runner.outputs == {"results": "conformance-1-of-1.jsonl", "status": "passed"}
    run = read_results(runner.folder / runner.outputs["results"])
    assert [verdict.check for verdict in run.verdicts] == ["shape", "values"]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"shard": "4", "shards": "3"}, "CONFORMANCE_SHARD=4/3: expected"),
        ({"layer": "ReLUU"}, "nearest: ReLU"),
        ({"known": "no.toml"}, "no.toml"),
    ],
)
def test_the_action_says_what_is_wrong_with_an_input(
    inputs: dict[str, str], told: str, tmp_path: Path
) -> None:
    runner, result = _run_suite_step(tmp_path, **inputs)
    assert result.code == 4
    assert told in result.text
    assert runner.outputs["status"] == "error"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_actions_are_of_a_major_version_and_scripts_hold_no_expression(path: Path) -> None:
    data = read(path)
    for name in used_actions(data):
        assert re.fullmatch(r"actions/[\w-]+@v\d+", name), name
    for step in _iterate_scripts(data):
        assert "${{" not in step["run"], "an expression in a script runs what it holds"


def _iterate_scripts(data: Any) -> Iterator[Any]:
    if isinstance(data, dict):
        if isinstance(data.get("run"), str):
            yield data
        for value in data.values():
            yield from _iterate_scripts(value)
    if isinstance(data, list):
        for value in data:
            yield from _iterate_scripts(value)


def test_the_matrix_has_as_many_shards_as_it_says(workflow: Any) -> None:
    shards = workflow["jobs"]["suite"]["strategy"]["matrix"]["shard"]
    assert shards == [*range(1, workflow["env"]["SHARDS"] + 1)]


def test_every_input_of_the_action_is_used_and_every_output_set() -> None:
    text = ACTION.read_text(encoding="utf-8")
    action = read(ACTION)
    for name in action["inputs"]:
        assert f"${{{{ inputs.{name} }}}}" in text
    assert {*action["outputs"]} == {"results", "status"}


def test_the_runner_refuses_what_a_shell_could_not_run(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "job", {}, {})
    with pytest.raises(WorkflowError, match="an expression in a script"):
        runner.run({"run": "echo ${{ matrix.shard }}"})
    with pytest.raises(WorkflowError, match="no such value"):
        runner.run({"run": "true", "env": {"A": "${{ secrets.no }}"}})
