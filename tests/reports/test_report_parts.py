"""Clusters, comparison, badge, Markdown, progress, and results of older versions."""

from __future__ import annotations

import json
import re
import xml.dom.minidom
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance.reports import compare, html, results, summary
from conformance.reports.argument_coverage import expand_outcomes
from conformance.reports.badge import badge
from conformance.reports.charts import bars, heat_map
from conformance.reports.embedded_data import pack_results
from conformance.reports.markdown import markdown
from made_runs import DTYPES, next_run, passing_run, rich_run
from support import install_backends_module, run_session
from test_report import NASTY, Page, identity, mixed_run, run_of, verdict

from conformance.commands import cli
from conformance.model import finding_text
from conformance.model.case import Column
from conformance.model.cause import Cause, Need, other_causes_text
from conformance.model.checks import matrix_columns
from conformance.model.finding import Finding
from conformance.model.finding_text import finding_message as prose
from conformance.plugin import progress

SAMPLE = Path(__file__).parents[1] / "samples" / "schema1.jsonl"


WRONG = Finding(
    "value", "output", where=(0,), got="1", wanted="2", bound=0.0, error=1.0, wrong=2, of=4
)


def _clusters_of(*verdicts: Any) -> tuple[summary.Cluster, ...]:
    run = run_of(*verdicts)
    return summary.clusters(summary.verdicts_with_status(summary.matrix(run)), run.identity.layers)


def _failed_verdict(
    layer: str, check: str, needs: tuple[str, ...] = ("groups",), **facts: Any
) -> Any:
    failure = facts.pop("failure", WRONG)
    need_objects = tuple(Need(name, "2", "1", False) for name in needs)
    return verdict(layer, check, facts.pop("dtype", "float32"), "failed", call="call",
                   message=facts.pop("message", prose(failure, "call")), needs=need_objects,
                   failure=failure, **facts)  # fmt: skip


def test_one_bug_is_one_entry() -> None:
    gradient = replace(WRONG, kind="gradient", what="gradient of weight")
    (cluster,) = _clusters_of(
        _failed_verdict("Conv2d", "values"),
        _failed_verdict("Conv2d", "values", dtype="bfloat16"),
        _failed_verdict("Conv2d", "gradients", failure=gradient),
        _failed_verdict("LazyConv2d", "values"),
        _failed_verdict("functional.conv2d", "laws", ("groups", "dilation")),
    )
    assert cluster.needs == ("groups > 1",)
    assert cluster.title == "wrong values"
    assert cluster.layers == ("Conv2d", "LazyConv2d", "functional.conv2d")
    assert set(cluster.checks) == {"values", "laws", "gradients"}


def test_other_causes_stay_apart() -> None:
    says = "expected 3 got 4"
    raised = Finding("exception", "call", exception="ValueError", says=says, accepted=True)
    reworded = replace(raised, says=says.replace("3", "7"))
    clusters = _clusters_of(
        _failed_verdict("Conv2d", "values"),
        _failed_verdict("Conv2d", "laws", ("stride",)),
        _failed_verdict("Conv3d", "values"),
        _failed_verdict("Conv2d", "shape", failure=raised),
        _failed_verdict("Conv2d", "repeat", failure=reworded),
        verdict("Conv2d", "state", "float32", "crashed"),
    )
    assert [len(cluster.members) for cluster in clusters] == [1, 2, 1, 1, 1]
    assert clusters[0].status == "crashed"
    assert clusters[1].title == "raises ValueError: expected 3 got 4"


def test_things_that_serve_alike_are_one_cause() -> None:
    """Each makes the same bug appear; the cause names common needs first, then alternatives."""
    (cluster,) = _clusters_of(
        _failed_verdict("ConvTranspose2d", "values", ("bias", "stride")),
        _failed_verdict("ConvTranspose2d", "values", ("bias", "dilation"), dtype="float64"),
        _failed_verdict(
            "ConvTranspose2d", "values", ("bias", "dilation", "groups"), dtype="bfloat16"
        ),
    )
    assert cluster.needs == ("bias > 1",)
    assert cluster.one_of == (("stride > 1",), ("dilation > 1",))
    assert [words for words, *_ in cluster.alternatives] == ["stride > 1", "dilation > 1"]
    assert cluster.needs_words == "bias > 1 and one of: stride > 1; dilation > 1"


def test_the_plainest_call_that_fails_stands_for_all_others() -> None:
    simplest = replace(_failed_verdict("GRUCell", "values"), needs=(Need("bias", "2", "1", True),))
    (cluster,) = _clusters_of(
        simplest, _failed_verdict("GRUCell", "values", ("bias",), dtype="float64")
    )
    assert (cluster.needs, cluster.one_of) == ((), ())


def test_a_law_of_a_layer_with_one_bug_follows_from_it() -> None:
    """The law makes further calls, and one known bug explains them; with two it stays open."""
    law = replace(WRONG, law="scaled")
    first_bug = _failed_verdict("Conv2d", "values", ("groups",))
    second_bug = _failed_verdict("Conv2d", "values", ("stride",), dtype="float64")
    law_verdict = _failed_verdict("Conv2d", "laws", (), failure=law)
    assert [len(c.members) for c in _clusters_of(first_bug, law_verdict)] == [2]
    assert len(_clusters_of(first_bug, second_bug, law_verdict)) == 3


def test_a_layout_that_is_misread_is_a_cause_of_its_own() -> None:
    layout_finding = replace(WRONG, layouts={"input": "transposed"})
    clusters = _clusters_of(
        _failed_verdict("Conv2d", "values"),
        _failed_verdict("Conv2d", "layout", failure=layout_finding),
    )
    assert len(clusters) == 2


def test_known_failures_of_one_reason_are_one_whatever_the_check() -> None:
    reason = "known failure: a bias of shape (1, 3) is broadcast"
    verdicts = [
        verdict("Linear", check, dtype, "known", message=message)
        for check, dtype, message in (
            ("errors", "float32", reason),
            ("values", "float64", reason),
            ("errors", "float64", f"{reason}; another"),
        )
    ]
    assert [(c.title, len(c.members)) for c in summary.clusters(verdicts, identity().layers)] == [
        (reason, 2),
        (f"{reason}; another", 1),
    ]


def test_clusters_do_not_hang_on_the_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = Finding("exception", "call", exception="ValueError", says="no 3", accepted=True)
    accepted = Finding("refusal", "negative padding", got="accepted silently", wanted="a refusal")
    failing = [
        _failed_verdict("Conv2d", "values"),
        _failed_verdict("Conv2d", "gradients", failure=replace(WRONG, kind="gradient")),
        _failed_verdict("Conv2d", "repeat", ("stride",), failure=WRONG.in_part("built anew")),
        _failed_verdict("Linear", "shape", failure=raised),
        _failed_verdict("Conv2d", "errors", failure=accepted),
        _failed_verdict("Conv2d", "shape", failure=replace(WRONG, kind="shape", wrong=None)),
    ]
    reworded = [replace(v, message=f"{v.call}\nin other words {k}") for k, v in enumerate(failing)]

    def grouping(verdicts: list[Any]) -> list[Any]:
        clusters = _clusters_of(*verdicts)
        return [(c.id, [v.id for v in c.members]) for c in clusters]

    grouping_before, titles = grouping(failing), [c.title for c in _clusters_of(*failing)]
    assert sorted(titles) == [
        "invalid call not refused: negative padding",
        "raises ValueError: no 3",
        "wrong shape",
        "wrong values",
        "wrong values, built anew",
    ]
    assert grouping(reworded) == grouping_before
    monkeypatch.setattr(finding_text, "_PHRASES", {})
    assert [c.title for c in _clusters_of(*failing)] != titles
    assert grouping(failing) == grouping_before


def test_files_of_schema_2_are_grouped_by_the_first_line_of_their_messages() -> None:
    old_verdicts = [
        replace(_failed_verdict("Conv2d", "values", dtype=dtype), failure=None, message=message)
        for dtype, message in (
            ("float32", "call\noutput, the worst of 2\n  got    1"),
            ("bfloat16", "call\noutput, the worst of 2\n  got    7"),
            ("float16", "call\naccepted, then failed: call raised ValueError: x"),
        )
    ]
    assert [(c.title, len(c.members)) for c in _clusters_of(*old_verdicts)] == [
        ("output, the worst of 2", 2),
        ("accepted, then failed: call raised ValueError: x", 1),
    ]


def test_results_of_schema_2_still_render_each_cause_once(tmp_path: Path) -> None:
    second_cause = Cause("call B\nanother line", "call B", failed=2)
    old_message = f"call A\nthe first line{other_causes_text([second_cause])}\ncases lost: see X"
    old_verdict = verdict(
        "Conv2d",
        "values",
        "float32",
        "failed",
        message=old_message,
        call="call A",
        others=(second_cause,),
    )
    path = tmp_path / "r.jsonl"
    results.write(
        path, replace(run_of(old_verdict), identity=identity((old_verdict.id,), schema=2))
    )
    lines = path.read_text(encoding="utf-8").replace(',"failure":null', "")
    assert "failure" not in lines
    path.write_text(lines, encoding="utf-8")
    run = results.read(path)
    assert (run.identity.schema, run.notes, run.verdicts) == (2, (), (old_verdict,))
    first, second = sorted(_clusters_of(*run.verdicts), key=lambda c: str(c.first.message))
    assert first.first.message == "call A\nthe first line\ncases lost: see X"
    assert (first.title, second.title) == ("the first line", "another line")
    assert "the first line" in Page(html.render(run)).text("main")


def test_ids_of_bugs_do_not_hang_on_the_run() -> None:
    float32_id, float64_id = (
        _clusters_of(_failed_verdict("Conv2d", "values", dtype=d))[0].id
        for d in ("float32", "float64")
    )
    assert float32_id == float64_id


def test_a_comparison_tells_what_became_of_each_item() -> None:
    comparison = compare.compare(rich_run(), next_run(rich_run()))
    verdict_by_kind = {change.kind: change.verdict.id for change in comparison.changes}
    assert verdict_by_kind == {
        "broken": "Linear-values-bfloat16-cpu",
        "fixed": "LSTM-values-float32-cpu",
        "new": "RNN-values-float32-cpu",
        "gone": "GRU-values-float32-cpu",
        "margin": "Linear-values-float32-cpu",
    }
    (speed_change,) = comparison.speeds
    assert (speed_change.factor, speed_change.certain) == (2.0, True)
    page = Page(compare.render(comparison))
    assert page.loading_attributes == []
    assert len(page.ids) == len(set(page.ids))


def completed_run(run: results.Run) -> results.Run:
    """The run with a verdict for each of its items, and a last line."""
    items = tuple(v.id for v in run.verdicts)
    footer = results.Footer(
        summary.count_statuses(run), len(items), 1.0, "2026-01-01T00:00:01+00:00"
    )
    return replace(run, identity=replace(run.identity, items=items), footer=footer)


@pytest.mark.parametrize("field", ["suite", "seed", "profile"])
def test_unlike_runs_are_compared_only_by_force(field: str, tmp_path: Path) -> None:
    odd_value: Any = 9 if field == "seed" else "odd"
    run = completed_run(rich_run())
    unlike_run = replace(run, identity=replace(run.identity, **{field: odd_value}))
    with pytest.raises(results.ResultsError, match=f"unlike runs: {field}: "):
        compare.compare(run, unlike_run)
    assert compare.compare(run, unlike_run, force=True).unlike
    paths = [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.html")]
    for path, run_to_write in zip(paths, (run, unlike_run), strict=False):
        results.write(Path(path), run_to_write)
    command = ["compare", *paths[:2], "-o", paths[2]]
    assert cli.main(command) == 2
    assert cli.main([*command, "--force"]) == 0
    assert "Unlike runs." in Path(paths[2]).read_text(encoding="utf-8")


def test_two_backends_can_be_compared() -> None:
    run = mixed_run()
    other_run = replace(run, identity=replace(run.identity, backend="theirs"))
    assert compare.compare(run, other_run).changes == ()


def test_a_badge_is_a_picture_that_says_it() -> None:
    for run, text in (
        (mixed_run(), "5 failing"),
        (run_of(verdict("A", "values", "f", "passed")), "of 1 passed"),
    ):
        picture = badge(run)
        xml.dom.minidom.parseString(picture)
        assert text in picture
    hostile_badge = badge(run_of(backend=NASTY))
    xml.dom.minidom.parseString(hostile_badge)
    assert "<script" not in hostile_badge


def test_the_markdown_holds_verdict_failures_and_matrix() -> None:
    text = markdown(rich_run())
    assert text.startswith("## ✗ mine: not conformant")
    assert "**Conv2d, LazyConv2d**: wrong values, needs dilation &gt; 1 and groups &gt; 1" in text
    assert "| Linear | " in text
    assert "> r.jsonl, line 9: truncated" in text
    hostile_markdown = markdown(
        run_of(verdict(NASTY, NASTY, NASTY, "failed", message=NASTY), backend=NASTY)
    )
    assert "<script" not in re.sub(r"`[^`\n]*`", "", hostile_markdown)
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", hostile_markdown)


def test_command_line_writes_badge_and_summary(tmp_path: Path, capfdbinary: Any) -> None:
    path = tmp_path / "r.jsonl"
    results.write(path, completed_run(rich_run()))
    assert cli.main(["badge", str(path), "-o", str(tmp_path / "deep" / "b.svg")]) == 0
    assert cli.main(["summary", str(path), "-o", str(tmp_path / "s.md")]) == 0
    assert cli.main(["summary", str(path)]) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "s.md").read_bytes()


def test_results_of_an_older_schema_still_render() -> None:
    run = results.read(SAMPLE)
    assert run.notes == ()
    assert run.identity.schema == 1
    text = Page(html.render(run)).text("main")
    assert "These results do not record what was drawn" in text
    assert "accepted, then failed: call raised TypeError" in text
    assert "got an unexpected keyword argument" in text
    assert cli.main(["verify", str(SAMPLE)]) == 0


def test_an_identity_that_lacks_fields_is_still_one() -> None:
    lines = [b'{"kind": "run", "backend": "old"}', *SAMPLE.read_bytes().splitlines()[1:3]]
    run = results.parse(lines)
    assert run.identity.suite == "unknown"
    assert Page(html.render(run)).texts["h1"][0].startswith("old does what ")


def test_a_cut_or_corrupt_line_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    lines = SAMPLE.read_bytes().splitlines()
    path = tmp_path / "cut.jsonl"
    path.write_bytes(b"\n".join([*lines[:2], b"\xff\x00garbage", *lines[2:4], lines[4][:100]]))
    run = results.read(path)
    assert len(run.verdicts) == 3
    assert [re.search(r"line (\d+)", note)[1] for note in run.notes] == ["3", "6"]  # type: ignore[index]
    page = Page(html.render(run))
    assert "Incomplete run." in page.text("main")
    assert "line 6" in page.text("li")


def test_a_bad_benchmark_is_named() -> None:
    lines = [results.encode_line(identity()), b'{"kind": "benchmark", "ratio": 1}']
    lines.append(
        b'{"kind": "benchmark", "layer": "Linear", "pass": "forward", "ratio": 2, "seconds": 1}'
    )
    run = results.parse(lines)
    assert "line 2" in run.notes[0]
    (line,) = summary.timings(run).lines
    assert (line.direction, line.ratio) == ("forward", 2.0)
    assert summary.timings(run).mean == pytest.approx(2.0)


def test_what_the_page_holds_are_the_results() -> None:
    import base64
    import gzip

    run = replace(rich_run(), timing=({"kind": "timing", "threads": 2},))
    text, left_out = pack_results(run)
    lines = gzip.decompress(base64.b64decode(text)).splitlines()
    assert left_out == ()
    parsed = results.parse(lines)
    assert parsed.verdicts == run.verdicts
    assert parsed.identity == run.identity
    assert (parsed.benchmarks, parsed.timing) == (run.benchmarks, run.timing)


def test_heights_and_marks_are_a_character_each() -> None:
    assert bars({"exact": 100, "-1": 1, "0": 25, "9": 25}, -1, 1) == "Z06uu"
    assert bars({}, -1, 1) == ""
    cases = [Column(("1", "2"), digits) for digits in ("0" * 10 + "111", "0" * 10 + "101")]
    failing = verdict(
        "Linear", "shape", "float32", "failed", outcomes="12p1f",
        drawn={"bias": cases[0], "size": cases[1], "input": Column(("2-d",), "0" * 13)},
    )  # fmt: skip
    (space,) = summary.spaces(run_of(failing))
    assert (space.cases, space.failed, space.met, space.possible) == (13, 1, 7, 8)
    assert heat_map(space) == ([2, 2, 0], ".31.b.")


def test_a_pair_counts_once_though_dtypes_name_arguments_in_another_order() -> None:
    first_column, reordered = Column(("1", "2"), "01"), Column(("a",), "00")
    run = run_of(
        verdict("Linear", "shape", "float32", "passed", drawn={"x": first_column, "y": reordered}),
        verdict("Linear", "shape", "float64", "passed", drawn={"y": reordered, "x": first_column}),
    )
    (space,) = summary.spaces(run)
    assert (space.met, space.possible) == (2, 2)
    (x, y) = space.arguments
    assert space.pair(x.values[0], y.values[0]) == (2, 0)


def test_a_verdict_takes_few_bytes_of_the_page() -> None:
    """On a page of 298 layers in four dtypes, verdicts are all but the embedded results."""
    sizes = []
    for count in (10, 20):
        page = html.render(passing_run(count))
        sizes.append(len(re.sub(r'id="results_data".*?</script>', "", page).encode()))
    extra_count = 10 * len(DTYPES) * len(matrix_columns())
    assert (sizes[1] - sizes[0]) / extra_count < 80


def test_outcomes_are_read_whatever_they_say() -> None:
    assert expand_outcomes("2p1f") == "ppf"
    assert expand_outcomes("nonsense") == ""
    assert len(expand_outcomes("999999p" * 1000)) <= 100_000


BACKEND = """
import time
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

backend = ModuleBackend("plain", nn=torch.nn)
"""


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n1", marks=pytest.mark.nightly)])
def test_progress_in_a_log_is_whole_lines(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    install_backends_module(pytester, monkeypatch, BACKEND)
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.0)
    (pytester.path / "at_once.py").write_text(
        "import conformance.plugin.progress\nconformance.plugin.progress.LOG_INTERVAL = 0.0\n"
    )
    completed = run_session(
        pytester, "-p", "at_once", workers,
        "--conformance-backend=plugged:backend", "--conformance-layer=Linear",
        "--conformance-check=shape,values", "--conformance-dtype=float32",
        "--conformance-examples=3", "--conformance-summary=s.md", "--conformance-isolation=none",
    )  # fmt: skip
    lines = [
        line
        for line in completed.outlines
        if line.startswith("conformance: ") and " items (" in line
    ]
    assert lines[0].startswith("conformance: 1 of 2 items (50%), 0 failing, about ")
    assert lines[-1] == "conformance: 2 of 2 items (100%), 0 failing"
    assert not any("\r" in line for line in completed.outlines)
    assert (pytester.path / "s.md").read_text(encoding="utf-8").startswith("## ✓ plain: conformant")


def test_a_line_of_results_is_as_documented() -> None:
    lines = [json.loads(results.encode_line(verdict)) for verdict in rich_run().verdicts]
    fields = {name for line in lines for name in line}
    assert {"needs", "outcomes", "drawn", "ratios", "worst"} <= fields
    assert lines[1]["examples"]["failed"] == 7


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [("mode", ("'bilinear'", "'bicubic'", "'area'"), 3), ("groups", ("2", "4", "8"), 1)],
)
def test_needs_of_different_words_are_different_causes(
    name: str, values: tuple[str, ...], count: int
) -> None:
    """Each mode of an interpolation is a formula of its own; numbers above 1 are one condition."""
    verdicts = [
        verdict(
            "functional.interpolate", "values", dtype, "failed",
            failure=WRONG, needs=(Need(name, value, "1", fails=False),),
        )
        for dtype, value in zip(DTYPES, values, strict=False)
    ]  # fmt: skip
    assert len(summary.clusters(verdicts, identity().layers)) == count


def test_failures_stand_above_the_matrix() -> None:
    page = html.render(run_of(verdict("Linear", "values", "float32", "failed", failure=WRONG)))
    sections = [page.index(f'<section id="{name}"') for name in ("heat_map", "failures", "matrix")]
    assert sections == sorted(sections)
    links = [page.index(f'<a href="#{name}"') for name in ("heat_map", "failures", "matrix")]
    assert links == sorted(links)
