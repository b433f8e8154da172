"""The scoreboard of many days: what it remembers, its files, and pages that are safe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.reports import results
from conformance.reports.history import History, RecordedRelease, RecordedRun, add_runs
from conformance.reports.results import Run
from conformance.reports.scoreboard import board
from conformance.reports.scoreboard_site import HISTORY, render_site, update_scoreboard
from test_report import Page, run_of, verdict

from conformance.commands import cli
from conformance.model.finding import Finding

HOSTILE = "../<script>alert(1)</script>\"'&\x1b[31m\u202e"
WRONG = Finding("value", "output", where=(0,), wrong=1, of=2, bound=0.0)


def _make_run(backend: str = "mine", day: str = "2026-11-01", status: str = "passed") -> Run:
    failure = {"failure": WRONG} if status in ("failed", "known") else {}
    return run_of(
        verdict("Linear", "values", "float32", "passed"),
        verdict("Conv2d", "values", "float32", status, **failure),
        backend=backend,
        info={backend: "1.0"},
        started=f"{day}T00:00:00Z",
    )


def _recorded(day: str, **changes: Any) -> RecordedRun:
    counts = {"items": 10, "passed": 8, "known": 1, "unsupported": 1, "failed": 0, "examples": 40}
    return RecordedRun(**{"backend": "mine", "day": day, **counts, **changes})


def _read_runs(folder: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads((folder / HISTORY).read_text())["runs"]
    return runs


def test_a_folder_remembers_runs_whose_results_are_gone(tmp_path: Path) -> None:
    update_scoreboard(tmp_path, [_make_run(day="2026-11-01", status="failed")])
    update_scoreboard(tmp_path, [_make_run(day="2026-11-02"), _make_run("other")])
    runs = _read_runs(tmp_path)
    assert [(x["backend"], x["day"], x["failed"]) for x in runs] == [
        ("mine", "2026-11-01", 1), ("other", "2026-11-01", 0), ("mine", "2026-11-02", 0),
    ]  # fmt: skip
    page = (tmp_path / "mine.html").read_text()
    assert page.index("2026-11-02") < page.index("2026-11-01")
    assert "50.0\u202f% to 100\u202f%" in page
    assert page.count("<polyline") == 2
    assert "<polyline" not in (tmp_path / "other.html").read_text()
    assert "2 items pass" in (tmp_path / "mine.svg").read_text()


def test_a_run_that_is_added_again_counts_once(tmp_path: Path) -> None:
    update_scoreboard(tmp_path, [_make_run(status="failed")])
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    update_scoreboard(tmp_path, [_make_run(status="failed")])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert sorted(first) == ["history.json", "index.html", "mine.html", "mine.svg"]


def test_the_same_run_of_another_day_is_another_run(tmp_path: Path) -> None:
    update_scoreboard(tmp_path, [_make_run(), _make_run(), _make_run(day="2026-11-02")])
    assert [run["day"] for run in _read_runs(tmp_path)] == ["2026-11-01", "2026-11-02"]


def test_only_the_newest_run_keeps_its_causes(tmp_path: Path) -> None:
    update_scoreboard(tmp_path, [_make_run(status="failed")])
    assert "wrong values" in (tmp_path / "mine.html").read_text()
    assert "1 failing" in (tmp_path / "mine.svg").read_text()
    update_scoreboard(tmp_path, [_make_run(day="2026-11-02", status="known")])
    assert ["causes" in run for run in _read_runs(tmp_path)] == [False, True]


def test_a_line_joins_runs_of_as_many_cases(tmp_path: Path) -> None:
    runs = [_recorded("2026-11-01", examples=7), _recorded("2026-11-02"), _recorded("2026-11-03")]
    page = render_site(add_runs(History(), runs))["mine.html"]
    assert page.count('class="dot"') == 4
    assert "2026-11-01:" not in page


def test_items_without_time_are_no_failures(tmp_path: Path) -> None:
    run = _make_run()
    not_begun = replace(
        run.verdicts[1],
        status="unchecked",
        examples=replace(run.verdicts[1].examples, drawn=0, checked=0, stopped=10),
    )
    update_scoreboard(tmp_path, [replace(run, verdicts=(run.verdicts[0], not_begun))])
    (recorded,) = _read_runs(tmp_path)
    assert (recorded["failed"], recorded["left_out"]) == (0, 1)
    assert "1 had no time" in (tmp_path / "mine.html").read_text()


def test_shards_are_one_run_and_devices_are_two(tmp_path: Path) -> None:
    whole = _make_run()
    ids = [v.id for v in whole.verdicts]
    shards = [
        replace(
            whole,
            verdicts=(v,),
            identity=replace(whole.identity, shard=f"{k}/2", items=(v.id,), total=2),
        )
        for k, v in enumerate(whole.verdicts, start=1)
    ]
    update_scoreboard(tmp_path / "shards", shards)
    (recorded,) = _read_runs(tmp_path / "shards")
    assert (recorded["items"], recorded["passed"]) == (len(ids), 2)

    on_gpu = replace(whole.verdicts[0], id="Linear-values-float32-cuda:0", device="cuda:0")
    both = run_of(whole.verdicts[0], on_gpu, backend="mine", devices=("cpu", "cuda:0"))
    update_scoreboard(tmp_path / "devices", [both])
    assert [run["items"] for run in _read_runs(tmp_path / "devices")] == [1, 1]
    assert "mine · cuda:0" in (tmp_path / "devices" / "index.html").read_text()


def test_releases_are_shown_with_and_without_runs() -> None:
    releases = (
        RecordedRelease("mine", "1.0", 5, 1),
        RecordedRelease("mine", "2.0", 2, 4),
        RecordedRelease("other", "3.1", 0, 6),
    )
    files = render_site(History((_recorded("2026-11-01"),), releases))
    assert "2 to 5" in files["mine.html"]
    assert "3.1" in files["other.html"]
    assert "no run; 1 release" in files["index.html"]
    assert "other.svg" not in files


def test_names_are_escaped_and_stay_in_the_folder() -> None:
    runs = [
        _recorded("2026-11-01", backend=name, versions=HOSTILE, suite=HOSTILE)
        for name in (HOSTILE, "index", "a.b", "a b", "A-B")
    ]
    files = render_site(add_runs(History(), runs))
    assert len(files) == 1 + 2 * len(runs)
    assert all(name.replace("-", "").replace(".", "").isalnum() for name in files)
    for text in files.values():
        assert "<script" not in text
        assert "\x1b" not in text
    page = Page(files["index.html"])
    assert {link for link in page.links if not link.startswith("#")} <= files.keys()


def test_a_history_can_hold_any_name(tmp_path: Path) -> None:
    run = _make_run()
    strange = replace(run.identity, backend="\ud800" * 400, suite=HOSTILE, info={"x": "1\ud800"})
    update_scoreboard(tmp_path, [replace(run, identity=strange)])
    assert len(_read_runs(tmp_path)) == 1
    update_scoreboard(tmp_path, [replace(run, identity=strange)])
    assert len(_read_runs(tmp_path)) == 1


def test_comparable_runs_get_a_table_of_layers_and_others_none(tmp_path: Path) -> None:
    runs = [_make_run("a"), _make_run("b")]
    update_scoreboard(tmp_path, runs, board(runs))
    assert "layers.html" in (tmp_path / "index.html").read_text()
    update_scoreboard(tmp_path, runs)
    assert "layers.html" not in (tmp_path / "index.html").read_text()
    assert not (tmp_path / "layers.html").exists()


def test_the_command_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.write(tmp_path / "a.jsonl", _make_run("a"))
    results.write(
        tmp_path / "b.jsonl",
        replace(_make_run("b"), identity=replace(_make_run("b").identity, seed=99)),
    )
    site = tmp_path / "site"
    paths = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]
    assert cli.main(["scoreboard", *paths, "-o", str(site)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(site / "index.html")
    assert "no table of layers: not comparable: seed" in printed.err
    assert len(_read_runs(site)) == 2
    (site / HISTORY).write_text("[1, 2]")
    assert cli.main(["scoreboard", *paths, "-o", str(site)]) == 2
    assert "is no history of a scoreboard" in capsys.readouterr().err
    assert (site / HISTORY).read_text() == "[1, 2]"
