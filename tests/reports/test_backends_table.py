"""The data of backends have a row for each run; a later run replaces it. The exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import pytest
from backends_table import main, newest_runs
from conformance.reports.results import Run, write
from test_report import run_of, verdict

A = verdict("Linear", "values", "float32", "passed")
B = verdict("Linear", "shape", "float32", "passed")


def _read_row(data: Path, backend: str) -> dict[str, Any]:
    (row,) = [row for row in measured.read(data)["runs"] if row["backend"] == backend]
    return dict(row)


def _write_run(path: Path, run: Run, backend: str) -> str:
    info = {"mlx": "0.32.4", "threads": "1", "device": "the CPU"}
    write(path, replace(run, identity=replace(run.identity, backend=backend, info=info)))
    return str(path)


def test_a_run_is_a_row_and_a_later_one_takes_its_place(tmp_path: Path) -> None:
    data, path = tmp_path / "runs.json", tmp_path / "1.jsonl"
    assert main([_write_run(path, run_of(A, B), "zebra"), "--data", str(data)]) == 0
    known_file = _write_run(path, run_of(A, replace(B, status="known")), "mlx")
    assert main([known_file, "--data", str(data)]) == 0
    assert [row["backend"] for row in measured.read(data)["runs"]] == ["mlx", "zebra"]
    row = _read_row(data, "mlx")
    assert row["versions"] == "mlx 0.32.4"
    assert [row[x] for x in ("items", "passed", "known", "failed")] == [2, 1, 1, 0]
    assert main([_write_run(path, run_of(A), "mlx"), "--data", str(data)]) == 0
    assert _read_row(data, "mlx")["items"] == 1


def test_of_two_runs_of_one_day_the_later_one_is_the_newest(tmp_path: Path) -> None:
    data, path = tmp_path / "runs.json", tmp_path / "1.jsonl"
    for commit, items in (("bbbbbbb", (A, B)), ("aaaaaaa", (A,))):
        run = run_of(*items)
        run = replace(run, identity=replace(run.identity, git={"commit": commit}))
        assert main([_write_run(path, run, "mlx"), "--data", str(data)]) == 0
    rows = measured.read(data)["runs"]
    assert [row["suite"] for row in rows] == ["bbbbbbb", "aaaaaaa"]
    assert [row["items"] for row in newest_runs(rows)] == [1]


def test_what_a_budget_left_out_is_told_and_no_failure(tmp_path: Path) -> None:
    data = tmp_path / "runs.json"
    stopped_early = replace(A, examples=replace(A.examples, drawn=5, stopped=5))
    not_begun = replace(B, status="unchecked", examples=replace(B.examples, drawn=0, stopped=10))
    path = _write_run(tmp_path / "1.jsonl", run_of(stopped_early, not_begun), "mlx")
    assert main([path, "--data", str(data)]) == 0
    row = _read_row(data, "mlx")
    assert [row[x] for x in ("failed", "left_out", "share")] == [0, 1, 0.25]


@pytest.mark.parametrize("status", ["failed", "crashed", "hung", "unchecked"])
def test_a_failure_in_the_data_is_the_exit_status(tmp_path: Path, status: str) -> None:
    data = tmp_path / "runs.json"
    bad_file = _write_run(tmp_path / "1.jsonl", run_of(A, replace(B, status=status)), "mlx")
    assert main([bad_file, "--data", str(data)]) == 1
    cut_short_file = _write_run(tmp_path / "2.jsonl", replace(run_of(A), footer=None), "mlx")
    assert main([cut_short_file, "--data", str(data)]) == 1
    assert _read_row(data, "mlx")["minutes"] is None
    assert main([_write_run(tmp_path / "3.jsonl", run_of(A), "mlx"), "--data", str(data)]) == 0
