"""The examples for schedulers, run as plain bash with the variables that a scheduler sets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="needs PyYAML")

from conformance.reports.results import read as read_results
from plain_runner import Runner, read

SCALE = Path(__file__).parents[2] / "examples/scale"
SMALL = {
    "CONFORMANCE_PROFILE": "smoke",
    "CONFORMANCE_LAYER": "ReLU,Softsign",
    "CONFORMANCE_CHECK": "shape,values",
    "CONFORMANCE_DTYPE": "float32",
}


def _run(folder: Path, script: str, **env: str) -> int:
    result = Runner(folder, {**SMALL, **env}).run({"name": "scale", "run": script})
    assert result.code in (0, 1), result.text
    return result.code


def _join(folder: Path) -> int:
    shutil.copy(SCALE / "join.sh", folder)
    return _run(folder, "bash join.sh")


@pytest.mark.nightly
def test_an_array_of_slurm_is_one_run(tmp_path: Path) -> None:
    script = (SCALE / "shard.sbatch").read_text(encoding="utf-8")
    array = {"SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_CPUS_PER_TASK": "1"}
    _run(tmp_path / "job", script, SLURM_ARRAY_TASK_ID="2", **array)
    assert _join(tmp_path / "job") == 1  # a shard is missing
    _run(tmp_path / "job", script, SLURM_ARRAY_TASK_ID="1", **array)
    assert _join(tmp_path / "job") == 0
    assert (tmp_path / "job/report.html").exists()
    whole = tmp_path / "job/results.jsonl"
    assert len(read_results(whole).verdicts) == 4
    # A shard runs again by its name, now with the times of the run before.
    lost = {"SLURM_ARRAY_TASK_ID": "2", "COSTS": str(whole), "CONFORMANCE_SHARD": "2/2"}
    _run(tmp_path / "again", script, **{**array, **lost})
    assert read_results(tmp_path / "again/shards/2.jsonl").identity.shard == "2/2"


def test_an_indexed_job_of_kubernetes_is_one_run(tmp_path: Path) -> None:
    job = read(SCALE / "kubernetes.yaml")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    env = {x["name"]: x["value"] for x in container["env"]}
    assert int(env["JOB_COMPLETIONS"]) == job["completions"] == job["parallelism"]
    (script,) = container["args"]
    for index in range(2):
        counted = {"JOB_COMPLETION_INDEX": str(index), "JOB_COMPLETIONS": "2"}
        _run(tmp_path / "job", script, **{**env, **counted})
    assert _join(tmp_path / "job") == 0
    assert read_results(tmp_path / "job/results.jsonl").identity.shard == "1/1"
