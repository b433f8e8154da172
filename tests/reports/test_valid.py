"""Malformed and inconsistent results files are refused or reported, without a traceback."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conformance.reports import results
from test_report import identity, run_of, verdict
from test_report_parts import completed_run

from conformance.commands import cli
from conformance.model.case import Examples
from conformance.model.shards import missing_shard_names, parse_shards, shard_of

IDS = [f"{layer}-values-float32-cpu" for layer in ("Linear", "Conv1d", "Conv2d", "GRU", "RNN")]
Lines = list[dict[str, Any]]


def _make_run() -> results.Run:
    verdicts = [verdict(id.split("-")[0], "values", "float32", "passed") for id in IDS]
    run = completed_run(run_of(*verdicts))
    return replace(run, identity=replace(run.identity, total=len(IDS)))


def _valid_lines() -> Lines:
    run = _make_run()
    assert run.footer is not None
    records = [run.identity, *run.verdicts, run.footer]
    return [json.loads(results.encode_line(record)) for record in records]


def _write_lines(path: Path, lines: Lines) -> str:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return str(path)


def _shard(lines: Lines) -> None:
    lines[0]["shard"] = "2/2"


def _whole(lines: Lines) -> None:
    lines[0]["total"] = 9


def _many(lines: Lines) -> None:
    lines[0]["total"] = 2


def _negative(lines: Lines) -> None:
    lines[1]["examples"]["drawn"] = -3


def _other_layer(lines: Lines) -> None:
    lines[1]["layer"] = "GRUCell"


def _other_device(lines: Lines) -> None:
    lines[1]["device"] = "cuda:0"


def _two_headers(lines: Lines) -> None:
    lines.insert(1, lines[0])


def _two_footers(lines: Lines) -> None:
    lines.append(lines[-1])


def _twice(lines: Lines) -> None:
    lines.insert(2, lines[1])
    lines[-1]["verdicts"] += 1


def _no_item(lines: Lines) -> None:
    lines[0]["items"] = lines[0]["items"][:-1]
    lines[0]["total"] -= 1


def _counts(lines: Lines) -> None:
    lines[-1]["counts"] = {"passed": 4, "failed": 1}


def _status(lines: Lines) -> None:
    lines[1]["status"] = "splendid"


def _excused(lines: Lines) -> None:
    lines[1]["examples"] = {"drawn": 9, "checked": 9, "failed": 1, "excused": 4}


def _late(lines: Lines) -> None:
    lines.append(lines.pop(1))


def _item_twice(lines: Lines) -> None:
    lines[0]["items"].append(lines[0]["items"][0])
    lines[0]["total"] += 1


def _examples(**counts: int) -> Callable[[Lines], None]:
    return lambda lines: lines[1]["examples"].update(counts)


def _outcomes(lines: Lines) -> None:
    lines[1]["outcomes"] = "2x"


def _drawn(lines: Lines) -> None:
    lines[1]["drawn"] = {"bias": {"values": ["True"], "cases": "01"}}


def _nothing_run(lines: Lines) -> None:
    lines[0] |= {"items": [], "total": 0}
    lines[-1] |= {"verdicts": 0, "counts": {}}
    del lines[1:-1]


def _no_status(lines: Lines) -> None:
    lines[1]["status"] = ""


def _nothing_checked(lines: Lines) -> None:
    lines[1]["examples"] |= {"checked": 0}


def _nothing_compared(lines: Lines) -> None:
    lines[1]["comparisons"] = 0


def _hits(lines: Lines) -> None:
    lines[1]["hits"] = {"aten::addmm": -1}


def _unreached(lines: Lines) -> None:
    lines[1]["hits"] = {"aten::addmm": 0, "aten::mm": 0}


INCONSISTENT: list[tuple[Callable[[Lines], None], str]] = [
    (_shard, "belongs to shard 1/2, not 2/2"),
    (_whole, "has 5 items, and a total of 9"),
    (_many, "has 5 items, and a total of 2"),
    (_negative, "examples: drawn is -3, expected a count"),
    (_other_layer, "its verdict is about GRUCell-values-float32-cpu"),
    (_other_device, "its verdict is about Linear-values-float32-cuda:0"),
    (_two_headers, "a second first line"),
    (_two_footers, "a second last line"),
    (_twice, "more than one verdict"),
    (_no_item, "a verdict on an item that the first line lacks"),
    (_counts, "counts are not those of the verdicts"),
    (_status, "unknown status 'splendid'"),
    (_excused, "4 examples excused of 1 that failed"),
    (_late, "a verdict after the last line"),
    (_item_twice, "2 times among the items"),
    (_examples(drawn=9, checked=9, failed=1), "passed, and 1 of its examples failed"),
    (_examples(drawn=1, checked=9), "9 examples checked of 1 drawn"),
    (_examples(checked=2, drawn=2, failed=3), "3 examples failed of 2 checked"),
    (_nothing_checked, "passed, with 0 examples checked"),
    (_nothing_compared, "and 0 numbers compared"),
    (_outcomes, "outcomes have 2 cases left_out, examples 0"),
    (_nothing_run, "nothing was run: no items, no verdicts and no benchmarks"),
    (_no_status, "status has 0 characters"),
    (_hits, "hits: aten::addmm is -1, expected a count"),
    (_unreached, "passed, and none of aten::addmm, aten::mm ran"),
    (_drawn, "drawn: 'bias' has a case with none of its 1 values"),
]


@pytest.mark.parametrize(("change", "said"), INCONSISTENT, ids=lambda x: getattr(x, "__name__", ""))
def test_what_does_not_agree_is_not_valid(
    change: Callable[[Lines], None], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", _write_lines(tmp_path / "good.jsonl", _valid_lines())]) == 0
    lines = _valid_lines()
    change(lines)
    assert cli.main(["verify", _write_lines(tmp_path / "bad.jsonl", lines)]) == 1
    out = capsys.readouterr().out
    assert said in out
    assert "not valid" in out


def _set_at(*places: Any) -> Callable[[Lines], None]:
    """A change that sets the last of `places` at the path of the others."""

    def change(lines: Lines) -> None:
        target: Any = lines
        *keys_before, last_key, value = places
        for step in keys_before:
            target = target[step]
        target[last_key] = value

    return change


def _nested_list(depth: int) -> Any:
    nested: Any = 1
    for _ in range(depth):
        nested = [nested]
    return nested


CASE = {
    "call": {"layer": "Linear", "arguments": {}, "state": {}, "dtype": "float32",
             "device": "cpu", "training": False, "layouts": {}},
    "inputs": {}, "keywords": {}, "layouts": {}, "labels": {}, "seed": 0,
}  # fmt: skip
_TIMED_LINE = {"kind": "benchmark", "layer": "Linear", "name": "wide", "dtype": "float32"}


def _add_benchmark(**fields: Any) -> Callable[[Lines], None]:
    return lambda lines: lines.insert(2, {**_TIMED_LINE, **fields})


def _change_failed(**fields: Any) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[1] |= {"status": "failed", "message": "m", "call": "Linear(1, 1)", **fields}

    return change


MALFORMED: dict[str, Callable[[Lines], None]] = {
    "shard-x": _set_at(0, "shard", "x"),
    "shard-a-b": _set_at(0, "shard", "a/b"),
    "shard-0": _set_at(0, "shard", "0/0"),
    "shard-digits": _set_at(0, "shard", "1/" + "9" * 5000),
    "shard-huge": _set_at(0, "shard", "1/1000000000"),
    "shard-unicode": _set_at(0, "shard", "١/٢"),
    "backend-empty": _set_at(0, "backend", ""),
    "items-number": _set_at(0, "items", 3),
    "items-numbers": _set_at(0, "items", [1, 2]),
    "items-empty-id": _set_at(0, "items", [""]),
    "items-long-id": _set_at(0, "items", ["x" * 100_000]),
    "info-deep": _set_at(0, "info", {"a": _nested_list(5)}),
    "options-number": _set_at(0, "options", {"backend": 3}),
    "seed-text": _set_at(0, "seed", "zero"),
    "total-negative": _set_at(0, "total", -1),
    "schema-future": _set_at(0, "schema", 99),
    "layers-list": _set_at(0, "layers", [1]),
    "catalogue-words": _set_at(0, "catalogue", {"loss": "many"}),
    "catalogue-negative": _set_at(0, "catalogue", {"x" * 5000: -1}),
    "ulps-words": _set_at(1, "ulps", {"far": 1}),
    "ulps-texts": _set_at(1, "ulps", {"1": "many"}),
    "ulps-list": _set_at(1, "ulps", [1]),
    "ulps-digits": _set_at(1, "ulps", {"9" * 5000: 1}),
    "ratios-negative": _set_at(1, "ratios", {"1": -5}),
    "margin-text": _set_at(1, "margin", "small"),
    "margin-negative": _set_at(1, "margin", -1.0),
    "outcomes-number": _set_at(1, "outcomes", 7),
    "outcomes-huge": _set_at(1, "outcomes", "999999999999p"),
    "drawn-odd": _set_at(1, "drawn", {"a": {"values": 1, "cases": 2}}),
    "status-long": _set_at(1, "status", "x" * 100_000),
    "needs-odd": _change_failed(needs=[{"argument": "groups"}]),
    "excess-word": _change_failed(excess="a lot"),
    "bound-word": _change_failed(failure={"kind": "value", "bound": "tight", "error": "big"}),
    "kind-unknown": _change_failed(failure={"kind": "splendid", "what": "output"}),
    "others-deep": _change_failed(others=[{"message": "m", "case": {"a": _nested_list(200)}}]),
    "case-deep": _change_failed(case={"call": _nested_list(100)}),
    "case-deeper": _change_failed(case={"call": _nested_list(900)}),
    "case-empty": _change_failed(case={}),
    "case-number": _change_failed(case=3),
    "case-arguments": _change_failed(case=CASE),
    "case-nested-arguments": _change_failed(
        case={**CASE, "call": {**CASE["call"], "arguments": {"in_features": {"tuple": [{"a": 1}]}}}}
    ),
    "case-layer": _change_failed(case={**CASE, "call": {**CASE["call"], "layer": "Nope"}}),
    "case-object": _change_failed(
        case={**CASE, "inputs": {"input": {"shape": [1], "dtype": "object", "data": [{}]}}}
    ),
    "case-shape": _change_failed(
        case={**CASE, "inputs": {"input": {"shape": [10**12], "dtype": "float64", "data": [1]}}}
    ),
    "case-same": _change_failed(case={**CASE, "inputs": {"input": {"same": "input"}}}),
    "check-unknown": _change_failed(check="nope", case=CASE),
    "benchmark-text": _add_benchmark(seconds="fast"),
    "benchmark-negative": _add_benchmark(seconds=-1.0, ratio=-2.0),
    "benchmark-zero": _add_benchmark(
        seconds=0, ratio=0, ratio_low=0, ratio_high=0, torch_seconds=0
    ),
    "benchmark-huge": _add_benchmark(seconds=1e308, ratio=1e308, flops=1e308, bytes=1e308),
    "benchmark-timed-without-time": _add_benchmark(seconds=None),
    "benchmark-interval": _add_benchmark(seconds=1.0, ratio=1.0, ratio_low=2.0, ratio_high=0.5),
    "benchmark-list": _add_benchmark(rounds=[1]),
    "timing-odd": lambda lines: lines.insert(2, {"kind": "timing", "machine": [1, 2]}),
    "footer-text": _set_at(-1, "verdicts", "all"),
    "footer-negative": _set_at(-1, "counts", {"passed": -5}),
    "kind-list": _set_at(1, "kind", ["verdict"]),
    "no-header": lambda lines: lines.__delitem__(0),
}


VALID = ("benchmark-zero", "benchmark-huge", "timing-odd")


@pytest.mark.parametrize("name", MALFORMED)
def test_no_command_ends_in_a_traceback_or_in_minutes(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _valid_lines()
    MALFORMED[name](lines)
    bad_file, good = _write_lines(tmp_path / "bad.jsonl", lines), str(tmp_path / "good.jsonl")
    _write_lines(Path(good), _valid_lines())
    started = time.monotonic()
    for number, command in enumerate(
        (
            ["verify", bad_file],
            ["render", bad_file, "-o", "OUT"],
            ["merge", bad_file, bad_file, "-o", "OUT"],
            ["scoreboard", bad_file, good, "-o", "OUT"],
            ["compare", good, bad_file, "-o", "OUT", "--force"],
            ["badge", bad_file, "-o", "OUT"],
            ["summary", bad_file],
            ["bug-report", bad_file, IDS[0]],
            ["known", bad_file, "--write", "OUT"],
        )
    ):
        out = str(tmp_path / f"out{number}")
        code = cli.main([out if word == "OUT" else word for word in command])
        assert code in ((1, 2) if command[0] == "verify" and name not in VALID else (0, 1, 2))
        output = capsys.readouterr()
        assert "a bug of nn-conformance" not in output.err, (command, output.err)
        assert len(output.err) < 5000
        assert command[0] in ("summary", "bug-report") or len(output.out) < 20_000
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("command", ["verify", "summary"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing", "long"])
def test_what_is_no_file_is_refused_at_once(
    kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("x" * 300 if kind == "long" else "r.jsonl")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    assert cli.main([command, str(path)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_bytes_that_are_no_text_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    for content in (b"", b"\0" * 1000, b"\xff\xfe\n" * 500, b"[" * 100_000, b'{"kind":"run"'):
        path.write_bytes(content)
        assert cli.main(["verify", str(path)]) == 2


def test_a_file_that_nobody_could_read_line_by_line_names_some_lines_only() -> None:
    run = results.parse([results.encode_line(identity(())), *[b"nonsense"] * 1000], "r")
    assert len(run.notes) == results.MAX_NOTES + 1
    assert run.notes[-1] == "r: 900 further lines that cannot be read"


def test_an_output_is_written_over_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    text = Path(_write_lines(path, _valid_lines())).read_text()
    link, hard = tmp_path / "link", tmp_path / "hard"
    link.symlink_to(path)
    os.link(path, hard)
    for out in (path, link, hard, tmp_path / "." / "r.jsonl"):
        for command in ("render", "scoreboard", "merge", "badge", "summary"):
            assert cli.main([command, str(path), "-o", str(out)]) == 2
            assert "is read and written" in capsys.readouterr().err
        assert cli.main(["compare", str(path), str(path), "-o", str(out)]) == 2
        assert cli.main(["known", str(path), "--write", str(out), "--update"]) == 2
        assert cli.main(["exhaustive", str(path), "--table", str(out)]) == 2
    assert cli.main(["exhaustive", str(path), "--layer", "functional.relu"]) == 2
    assert path.read_text() == text


def test_an_output_is_whole_or_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "r.jsonl", tmp_path / "out.html"
    _write_lines(path, _valid_lines())
    assert cli.main(["render", str(path), "-o", "/dev/full"]) == 2
    assert "/dev/full" in capsys.readouterr().err
    assert cli.main(["render", str(path), "-o", "/proc/none"]) == 2
    assert "/proc/none" in capsys.readouterr().err
    assert cli.main(["render", str(path), "-o", "/dev/null"]) == 0
    assert cli.main(["render", str(path), "-o", str(path / "below" / "a.html")]) == 2
    assert cli.main(["render", str(path), "-o", str(tmp_path / ("x" * 300))]) == 2
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["render", str(path), "-o", str(tmp_path / "pipe")]) == 2
    assert cli.main(["render", str(path), "-o", str(tmp_path)]) == 2
    assert cli.main(["render", str(path), "-o", str(out)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.html", "pipe", "r.jsonl"]


def test_nothing_that_can_be_compared_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half_runs = []
    for k in (1, 2):
        verdicts = tuple(v for v in _make_run().verdicts if shard_of(v.id, 2) == k)
        run = completed_run(run_of(*verdicts))
        run = replace(run, identity=replace(run.identity, shard=f"{k}/2", total=len(IDS)))
        results.write(tmp_path / f"{k}.jsonl", run)
        half_runs.append(str(tmp_path / f"{k}.jsonl"))
    command = ["compare", *half_runs, "-o", str(tmp_path / "c.html")]
    assert cli.main(command) == 2
    assert "shard: 1/2 and 2/2" in capsys.readouterr().err
    assert cli.main([*command, "--force"]) == 2
    assert "nothing to compare" in capsys.readouterr().err


def test_a_run_that_was_cut_short_is_green_nowhere(tmp_path: Path) -> None:
    good_file, cut_file = tmp_path / "good.jsonl", tmp_path / "cut.jsonl"
    _write_lines(good_file, _valid_lines())
    for lines in (
        _valid_lines()[:1],
        _valid_lines()[:3],
        [{**_valid_lines()[0], "items": []}, _valid_lines()[-1]],
    ):
        _write_lines(cut_file, lines)
        out = str(tmp_path / "out")
        assert cli.main(["verify", str(cut_file)]) == 1
        assert cli.main(["badge", str(cut_file), "-o", out]) == 1
        assert cli.main(["summary", str(cut_file), "-o", out]) == 1
        assert cli.main(["compare", str(good_file), str(cut_file), "-o", out]) > 0
        assert cli.main(["compare", str(cut_file), str(good_file), "-o", out]) > 0


def test_what_a_file_says_is_shown_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "\x1b[31mred\x1b]0;title\x07 \x00 \u202e"
    lines = _valid_lines()
    lines[1] |= {"id": odd, "status": "failed", "message": odd * 100, "call": odd}
    lines[1]["reproducer"] = f"print({odd!r})\n{odd}"
    path = _write_lines(tmp_path / "r.jsonl", lines)
    for command in (["verify", path], ["summary", path], ["bug-report", path, "*title*"]):
        cli.main(command)
        output = capsys.readouterr()
        assert not set("\x1b\x00\x07\u202e") & set(output.out + output.err)


def test_a_case_is_in_the_dtype_and_on_the_device_of_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_changes = {"dtype": "float64"}, {"device": "cuda:0"}
    for changes in wrong_changes:
        case = {**CASE, "call": {**CASE["call"], **changes}}
        for fields in ({"case": case}, {"others": [{"message": "m", "case": case}]}):
            lines = _valid_lines()
            _change_failed(**fields)(lines)
            assert cli.main(["verify", _write_lines(tmp_path / "r.jsonl", lines)]) == 1
            expected_text = "dtype 'float64'" if changes == wrong_changes[0] else "device 'cuda:0'"
            assert f"its case has the {expected_text}" in capsys.readouterr().out


def test_the_line_of_the_run_is_the_first() -> None:
    run = _make_run()
    records = [run.verdicts[0], run.identity, *run.verdicts[1:]]
    with pytest.raises(results.ResultsError, match="line 2: the line of kind 'run' is not the"):
        results.parse(map(results.encode_line, records), "r")


def test_shards_by_name() -> None:
    assert parse_shards("1,3/4") == ({1, 3}, 4)
    assert missing_shard_names({1, 3}, 4) == ("2/4", "4/4")
    assert missing_shard_names({1}, 10**9)[-1] == "999,999,979 more"
    with pytest.raises(ValueError, match="each shard once"):
        parse_shards("1,1/2")
    for text in ("x", "a/b", "0/1", "3/2", "1/", "", "1/1/1", "1/" + "9" * 5000, "-1/2"):
        with pytest.raises(ValueError, match="expected i/N"):
            parse_shards(text)


def test_what_a_verdict_has_by_default_is_left_out_and_read_all_the_same() -> None:
    sparse_verdict = verdict(
        "Linear", "values", "float32", "passed", examples=Examples(3, 3), margin=None
    )
    line = json.loads(results.encode_line(sparse_verdict))
    assert line["examples"] == {"drawn": 3, "checked": 3}
    names = {"kind", "id", "layer", "check", "dtype", "device", "status", "examples"}
    assert line.keys() == {*names, "comparisons", "supported"}
    assert results.parse_verdict(json.dumps(line).encode()) == sparse_verdict
    # Older files have them all.
    assert (
        results.parse_verdict(msgspec.json.encode({"kind": "verdict", **vars(sparse_verdict)}))
        == sparse_verdict
    )
