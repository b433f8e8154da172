"""The table of backends has a row for each run; a later run replaces it. The exit status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from backends_table import COLUMNS, main
from conformance.reports.results import Run, write
from test_report import run_of, verdict

A = verdict("Linear", "values", "float32", "passed")
B = verdict("Linear", "shape", "float32", "passed")


def _read_cells(table: Path, backend: str) -> dict[str, str]:
    (line,) = [x for x in table.read_text("utf-8").splitlines() if x.startswith(f"| {backend} |")]
    return dict(zip(COLUMNS, [x.strip() for x in line.split("|")[1:]], strict=False))


def _write_run(path: Path, run: Run, backend: str) -> str:
    info = {"mlx": "0.32.4", "threads": "1", "device": "the CPU"}
    write(path, replace(run, identity=replace(run.identity, backend=backend, info=info)))
    return str(path)


def test_a_run_is_a_row_and_a_later_one_takes_its_place(tmp_path: Path) -> None:
    table, path = tmp_path / "table.md", tmp_path / "1.jsonl"
    assert main([_write_run(path, run_of(A, B), "zebra"), "--table", str(table)]) == 0
    known_file = _write_run(path, run_of(A, replace(B, status="known")), "mlx")
    assert main([known_file, "--table", str(table)]) == 0
    assert table.read_text("utf-8").index("| mlx |") < table.read_text("utf-8").index("| zebra |")
    cells = _read_cells(table, "mlx")
    assert cells["versions"] == "mlx 0.32.4"
    assert [cells[x] for x in ("items", "passed", "known", "failed")] == ["2", "1", "1", "0"]
    assert main([_write_run(path, run_of(A), "mlx"), "--table", str(table)]) == 0
    assert _read_cells(table, "mlx")["items"] == "1"


def test_what_a_budget_left_out_is_told_and_no_failure(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    stopped_early = replace(A, examples=replace(A.examples, drawn=5, stopped=5))
    not_begun = replace(B, status="unchecked", examples=replace(B.examples, drawn=0, stopped=10))
    assert (
        main(
            [
                _write_run(tmp_path / "1.jsonl", run_of(stopped_early, not_begun), "mlx"),
                f"--table={table}",
            ]
        )
        == 0
    )
    cells = _read_cells(table, "mlx")
    assert [cells[x] for x in ("failed", "items left out", "of the cases")] == ["0", "1", "25%"]


@pytest.mark.parametrize("status", ["failed", "crashed", "hung", "unchecked"])
def test_a_failure_in_the_table_is_the_exit_status(tmp_path: Path, status: str) -> None:
    table = tmp_path / "table.md"
    bad_file = _write_run(tmp_path / "1.jsonl", run_of(A, replace(B, status=status)), "mlx")
    assert main([bad_file, "--table", str(table)]) == 1
    cut_short_file = _write_run(tmp_path / "2.jsonl", replace(run_of(A), footer=None), "mlx")
    assert main([cut_short_file, "--table", str(table)]) == 1
    assert _read_cells(table, "mlx")["minutes"] == "cut short"
    assert main([_write_run(tmp_path / "3.jsonl", run_of(A), "mlx"), "--table", str(table)]) == 0
