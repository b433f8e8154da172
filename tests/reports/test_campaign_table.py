"""The data of campaigns have a row for each run; a later run replaces it. The exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import measured
import pytest
from campaign_table import main
from conformance.reports.results import Run, write
from test_report import run_of, verdict

A = verdict("Linear", "values", "float32", "passed")
B = verdict("Linear", "shape", "float32", "passed")


def _read_rows(data: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = measured.read(data)["runs"]
    return rows


def _write_run(path: Path, run: Run, *, seed: int, shard: str = "1/1") -> str:
    write(path, replace(run, identity=replace(run.identity, seed=seed, shard=shard)))
    return str(path)


def test_a_run_is_a_row_and_a_later_one_takes_its_place(tmp_path: Path) -> None:
    data = tmp_path / "runs.json"
    clean = run_of(A, replace(B, status="known"))
    second = _write_run(tmp_path / "2.jsonl", clean, seed=10)
    first = _write_run(tmp_path / "1.jsonl", clean, seed=9)
    assert main([second, "--data", str(data)]) == 0
    assert main([first, "--data", str(data)]) == 0
    shards = [_write_run(tmp_path / f"s{k}.jsonl", clean, seed=9, shard=f"{k}/2") for k in (2, 1)]
    assert main([*shards, "--data", str(data)]) == 0
    rows = _read_rows(data)
    assert [row["seed"] for row in rows] == [9, 9, 9, 10]
    assert [row["shard"] for row in rows] == ["1/1", "1/2", "2/2", "1/1"]
    assert [rows[0][name] for name in ("layers", "items", "passed", "known", "failed")] == [
        *("all", 2, 1, 1, 0)
    ]
    assert main([first, "--data", str(data)]) == 0
    assert _read_rows(data) == rows


def test_a_part_of_the_layers_is_a_row_of_its_own(tmp_path: Path) -> None:
    data, run = tmp_path / "runs.json", run_of(A)
    paths = []
    for layers in ("*Cell", "RNN,GRU", "*Cell"):
        options = {**run.identity.options, "layer": layers}
        partial_run = replace(run, identity=replace(run.identity, options=options))
        paths.append(_write_run(tmp_path / f"{len(paths)}.jsonl", partial_run, seed=1))
    assert main([*paths, _write_run(tmp_path / "all.jsonl", run, seed=1), "--data", str(data)]) == 0
    assert [row["layers"] for row in _read_rows(data)] == ["*Cell", "RNN,GRU", "all"]


def test_a_run_as_a_lesser_cpu_is_a_row_of_its_own(tmp_path: Path) -> None:
    data, run, paths = tmp_path / "runs.json", run_of(A), list[str]()
    for limit in ("", " ONEDNN_MAX_CPU_ISA=AVX2", " ONEDNN_MAX_CPU_ISA=AVX2"):
        places = {"cpu": f"torch 2.13.0 on Linux x86_64 AuthenticAMD avx2{limit}"}
        limited_run = replace(run, identity=replace(run.identity, places=places))
        paths.append(_write_run(tmp_path / f"{len(paths)}.jsonl", limited_run, seed=1))
    assert main([*paths, "--data", str(data)]) == 0
    full_row, limited_row = _read_rows(data)
    assert "ONEDNN" not in full_row["cpu"]
    assert "`ONEDNN_MAX_CPU_ISA=AVX2`" in limited_row["cpu"]


@pytest.mark.parametrize("status", ["failed", "crashed", "hung", "unchecked"])
def test_a_failure_in_the_data_is_the_exit_status(tmp_path: Path, status: str) -> None:
    data = tmp_path / "runs.json"
    bad_run = run_of(A, replace(B, status=status))
    assert main([_write_run(tmp_path / "1.jsonl", bad_run, seed=1), "--data", str(data)]) == 1
    good_file = _write_run(tmp_path / "2.jsonl", run_of(A), seed=2)
    assert main([good_file, "--data", str(data)]) == 1
    assert main([_write_run(tmp_path / "1.jsonl", run_of(A), seed=1), good_file,
                 "--data", str(data)]) == 0  # fmt: skip


def test_a_run_cut_short_is_no_evidence(tmp_path: Path) -> None:
    run = replace(run_of(A), footer=None)
    data = tmp_path / "runs.json"
    assert main([_write_run(tmp_path / "1.jsonl", run, seed=1), "--data", str(data)]) == 1
    assert [row["minutes"] for row in _read_rows(data)] == [None]
