"""The scoreboard: the denominator of its shares, runs that it refuses, and a safe page."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conformance.reports import results
from conformance.reports.clusters import clusters
from conformance.reports.results import ResultsError, Run
from conformance.reports.scoreboard import Board, ScoreCell, board
from conformance.reports.scoreboard_html import percent, render
from conformance.reports.statuses import PARTIAL
from test_report import Page, identity, run_of, verdict

from conformance.commands import cli
from conformance.model.case import Examples, Verdict
from conformance.model.finding import Finding

HOSTILE = "<script>alert(1)</script>\"'&\x00\x1b[31mred\x1b[0m\u202e\ud800"


def _make_run(backend: str, *verdicts: Verdict, **changes: Any) -> Run:
    return run_of(*verdicts, backend=backend, info={backend: "1.0"}, **changes)


def _passed_verdict(
    layer: str, dtype: str = "float32", declined: int = 0, check: str = "values"
) -> Verdict:
    examples = Examples(10, 10 - declined, {"groups>1": declined} if declined else {})
    return verdict(layer, check, dtype, "passed", examples=examples)


def _find_cell(scoreboard: Board, layer: str, column: int) -> ScoreCell:
    return scoreboard.columns[column].cells[scoreboard.layers.index(layer)]


def test_shares_have_one_denominator_and_unsupported_is_no_pass() -> None:
    full_run = _make_run(
        "full",
        _passed_verdict("Linear"),
        _passed_verdict("Linear", "bfloat16"),
        _passed_verdict("Conv2d"),
    )
    half_run = _make_run(
        "half", _passed_verdict("Linear", declined=4), dtypes=("float32", "bfloat16")
    )
    scoreboard = board([full_run, half_run])
    assert scoreboard.items == 3
    for column in scoreboard.columns:
        assert [cell.items for cell in column.cells] == [2, 1]
        assert column.total is not None
        assert column.total.items == 3
    linear = _find_cell(scoreboard, "Linear", 1)
    # bfloat16 was selected and left out: not offered. Conv2d was not run.
    assert linear.conforming == Fraction(6, 20)
    assert linear.supported == Fraction(6, 20)
    assert (linear.status, linear.run) == (PARTIAL, 2)
    assert _find_cell(scoreboard, "Linear", 0).conforming == 1
    assert _find_cell(scoreboard, "Linear", 0).status == "passed"
    assert _find_cell(scoreboard, "Conv2d", 1).status == "missing"
    assert _find_cell(scoreboard, "Conv2d", 1).run == 0


def test_what_fails_is_known_or_is_not_reached_is_no_pass() -> None:
    stopped = Examples(5, 5, stopped=5)
    invalid = Examples(10, 6, invalid=4)
    scoreboard = board([
        _make_run(
            "mine",
            verdict("A", "values", "float32", "failed"),
            verdict("B", "values", "float32", "known"),
            verdict("C", "values", "float32", "unchecked", examples=Examples(10)),
            verdict("D", "values", "float32", "passed", examples=stopped),
            verdict("E", "values", "float32", "passed", examples=invalid),
            verdict("F", "values", "float32", "unsupported", examples=Examples(10, 0, {"no": 10})),
        )
    ])  # fmt: skip
    shares = [cell.conforming for cell in scoreboard.columns[0].cells]
    assert shares == [0, 0, 0, Fraction(1, 2), 1, 0]
    statuses = [cell.status for cell in scoreboard.columns[0].cells]
    assert statuses == ["failed", "known", "unchecked", PARTIAL, "passed", "unsupported"]
    total = scoreboard.columns[0].total
    assert total is not None
    assert (len(total.failures), len(total.known)) == (2, 1)


def test_failures_of_one_cause_are_one() -> None:
    def failed_verdict(layer: str, dtype: str, failure: Finding) -> Verdict:
        return verdict(layer, "values", dtype, "failed", failure=failure, call="call")

    wrong = Finding("value", "output", where=(0, 3), wrong=2, of=8, bound=0.0)

    failing = [
        failed_verdict("A", "float32", wrong),
        failed_verdict("A", "bfloat16", replace(wrong, where=(1, 0), wrong=7, of=9)),
        failed_verdict(
            "A", "float16", Finding("exception", "call", exception="ValueError", says="x")
        ),
        failed_verdict("B", "float32", wrong),
    ]
    scoreboard = board([_make_run("mine", *failing)])
    assert [len(cell.failures) for cell in scoreboard.columns[0].cells] == [2, 1]
    total = scoreboard.columns[0].total
    assert total is not None
    assert [(c.layers, c.dtypes) for c in total.failures] == [
        (("A",), ("float32", "bfloat16")),
        (("A",), ("float16",)),
        (("B",), ("float32",)),
    ]
    assert total.failures[0].title == "wrong values"
    assert clusters([replace(failing[0], failure=None, message=None)])[0].title == "failed"


@pytest.mark.parametrize(
    ("field", "value"),
    [("suite", "9.9"), ("seed", 8), ("profile", "smoke"), ("examples", 40)],
)
def test_runs_that_cannot_be_compared_are_refused(
    field: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (
        _make_run("a", _passed_verdict("Linear")),
        _make_run("b", _passed_verdict("Linear"), **{field: value}),
    )
    with pytest.raises(ResultsError, match=f"not comparable: {field} is"):
        board([a, b])
    paths = []
    for name, run in (("a.jsonl", a), ("b.jsonl", b)):
        results.write(tmp_path / name, run)
        paths.append(str(tmp_path / name))
    out = tmp_path / "board.html"
    assert cli.main(["scoreboard", *paths, "-o", str(out)]) == 2
    error_text = capsys.readouterr().err
    assert f"{field} is" in error_text
    assert "b.jsonl" in error_text
    assert not out.exists()


def test_files_of_one_backend_come_together() -> None:
    def run_in_dtype(dtype: str) -> Run:
        return _make_run("mine", _passed_verdict("Linear", dtype), dtypes=(dtype,))

    other_run = _make_run("other", _passed_verdict("Linear"), dtypes=("float32",))
    scoreboard = board([run_in_dtype("float32"), other_run, run_in_dtype("bfloat16")])
    assert [column.backend for column in scoreboard.columns] == ["mine", "other"]
    assert scoreboard.columns[0].dtypes == ("float32", "bfloat16")
    assert _find_cell(scoreboard, "Linear", 0).conforming == 1
    assert _find_cell(scoreboard, "Linear", 1).run == 1  # a dtype that the other was not asked for


def test_shards_come_together_and_a_missing_one_is_told() -> None:
    ids = ("Linear-values-float32-cpu", "Conv2d-values-float32-cpu")
    shard_runs = {
        k: _make_run(
            "mine", _passed_verdict(layer), items=(ids[k - 1],), shard=f"{k}/2", total=2,
            dtypes=("float32", "bfloat16"),
        )
        for k, layer in ((1, "Linear"), (2, "Conv2d"))
    }  # fmt: skip
    other_run = _make_run(
        "other", *(_passed_verdict(x, d) for x in ("Linear", "Conv2d") for d in ("float32",))
    )
    both_shards = board([shard_runs[1], shard_runs[2], other_run])
    assert not both_shards.columns[0].gaps
    assert both_shards.columns[0].total is not None
    assert both_shards.columns[0].total.conforming == 1
    one_shard = board([shard_runs[1], other_run])
    assert one_shard.columns[0].gaps == ("shard 2/2 is missing",)
    assert _find_cell(one_shard, "Conv2d", 0).status == "missing"


def test_versions_and_devices_of_a_backend_are_columns_of_their_own() -> None:
    old_run = run_of(_passed_verdict("Linear"), backend="torch", info={"torch": "2.3.0"})
    new_run = run_of(_passed_verdict("Linear"), backend="torch", info={"torch": "2.13.0"})
    gpu_verdict = replace(
        _passed_verdict("Linear"), id="Linear-values-float32-cuda:0", device="cuda:0"
    )
    two_devices = run_of(
        _passed_verdict("Linear"), gpu_verdict, backend="both", info={}, devices=("cpu", "cuda:0")
    )
    scoreboard = board([old_run, new_run, two_devices])
    assert [(c.backend, c.device) for c in scoreboard.columns] == [
        ("torch", "cpu"), ("torch", "cpu"), ("both", "cpu"), ("both", "cuda:0"),
    ]  # fmt: skip
    text = render(scoreboard)
    assert "torch 2.3.0 · cpu" in text
    assert "torch 2.13.0 · cpu" in text
    assert scoreboard.items == 1


def test_support_is_no_part_of_the_space_and_another_hypothesis_is_noted() -> None:
    support_verdict = verdict("Linear", "support", "float32", "passed")
    scoreboard = board([
        _make_run("a", _passed_verdict("Linear"), support_verdict),
        _make_run("b", _passed_verdict("Linear"), hypothesis="6.200"),
        _make_run("c", _passed_verdict("Linear"), options={"values of each structure": "10"}),
    ])  # fmt: skip
    assert scoreboard.items == 1
    assert any("Hypothesis differs" in note for note in scoreboard.notes)
    assert any("c asks for 10 cases" in note for note in scoreboard.notes)
    with pytest.raises(ResultsError, match="no item"):
        board([_make_run("a", support_verdict)])


def test_percentages_say_0_and_100_only_where_they_mean_it() -> None:
    assert percent(Fraction(0)) == "0\u202f%"
    assert percent(Fraction(1)) == "100\u202f%"
    assert percent(Fraction(99999, 100000)) == "99.9\u202f%"
    assert percent(Fraction(1, 100000)) == "0.1\u202f%"


def _sample_page() -> str:
    return render(
        board([
            _make_run("full", _passed_verdict("Linear"), _passed_verdict("Conv2d")),
            _make_run(
                HOSTILE,
                verdict(HOSTILE, "values", "float32", "failed", message=HOSTILE),
                _passed_verdict("Conv2d", declined=3),
                verdict("Linear", "values", "float32", "known"),
            ),
        ])
    )  # fmt: skip


def test_page_is_self_contained_and_hostile_names_are_harmless() -> None:
    text = _sample_page()
    page = Page(text)
    assert not page.loading_attributes
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"}
    assert "<script" not in text
    assert "http" not in re.sub(r'http-equiv="', "", text)
    assert not set("\x00\x1b\u202e") & set(text)
    assert "\\x00" in text
    text.encode("utf-8")
    assert len(page.ids) == len(set(page.ids))
    assert len(page.links) > 3
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_page_says_what_it_counts_and_who_the_backends_are() -> None:
    text = _sample_page()
    assert "Each number is a share of one space" in text
    assert "layer × check × dtype" in text
    assert "supports 70.0" in text
    assert "1 failure" in text
    assert "1 known" in text
    for term in ("device", "NumPy", "CPU", "dtypes", "numerics declared"):
        assert f"<dt>{term}</dt>" in text
    assert 'aria-hidden="true">✗' in text
    assert render(board([_make_run("a", _passed_verdict("Linear"))])) == render(
        board([_make_run("a", _passed_verdict("Linear"))])
    )


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    lighter, darker = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_have_the_contrast_of_wcag_aa() -> None:
    light, dark, own_light, own_dark = (
        scheme
        for scheme in re.findall(r":root \{(.*?)\}", _sample_page(), re.DOTALL)
        if "-on:" in scheme
    )
    for scheme in (light + own_light, dark + own_dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        assert {"passed-on", "partly-on"} <= colours.keys()
        for name, colour in colours.items():
            if name.endswith("-on"):
                state = colours[name.removesuffix("-on")]
                assert _contrast(colour, state) >= 4.5, name
                assert _contrast(colour, colours["muted"]) >= 4.5, name
                assert _contrast(colours["page"], state) >= 4.5, name
        for name in ("text", "muted", "link"):
            assert _contrast(colours["page"], colours[name]) >= 4.5, name
        assert _contrast(colours["text"], colours["hung-on"]) >= 4.5


def test_command_line_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "r.jsonl", tmp_path / "new" / "board.html"
    results.write(path, _make_run("mine", _passed_verdict("Linear")))
    assert cli.main(["scoreboard", str(path), "-o", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert "mine" in out.read_text(encoding="utf-8")
    assert identity().suite in out.read_text(encoding="utf-8")
