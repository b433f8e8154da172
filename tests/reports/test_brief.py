"""The summary of a run in a terminal of 80 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conformance.reports.html import render
from conformance.reports.markdown import markdown
from conformance.reports.results import Run
from made_runs import WRONG, large_run, rich_run
from test_report import run_of, verdict

from conformance.model.case import Verdict
from conformance.model.cause import Cause, Excuse, Need, Share
from conformance.model.finding import Finding
from conformance.model.layer_facts import LayerFacts
from conformance.plugin.failure_report import failure_text
from conformance.plugin.terminal_summary import MAX_CAUSES, MAX_NAMED_KNOWN, summary_lines
from conformance.plugin.terminal_table import table_lines
from conformance.plugin.terminal_text import HEADING, Line


def _text_lines(run: Run, width: int = 80) -> list[str]:
    return [line.text for line in summary_lines(run, width)]


def test_what_did_not_pass_and_why_fits_into_80_columns() -> None:
    lines = _text_lines(rich_run())
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "Conv2d  ✗ failed: values" in text
    assert "✓ 1 layer" not in text  # a check of Linear is missing
    assert "as listed among the known failures: GRU" in text
    assert "2 likely causes of failure:" in text
    assert "\n     got    9\n     wanted 8\n     bound  0: equality" in text
    assert "Conv2d-values-bfloat16-cpu" in text or "Conv2d-values-float32-cpu" in text
    assert lines[-1].startswith("3 passed, 4 failed")


def test_a_run_of_thousands_of_failures_is_told_in_a_screen_or_two() -> None:
    lines = _text_lines(large_run(20_000, simplified=True))
    assert max(map(len, lines)) <= 80
    assert sum(line[:1].isdigit() and ". " in line[:4] for line in lines) <= MAX_CAUSES


@pytest.mark.parametrize("width", [20, 40, 200])
def test_a_terminal_is_taken_as_wide_as_it_is(width: int) -> None:
    assert max(map(len, _text_lines(rich_run(), width))) <= width
    rows = [line.text for line in table_lines(rich_run(), 200)]
    assert max(map(len, rows)) <= 200


def test_small_operands_and_the_laws_that_fail_beside_wrong_values_are_shown() -> None:
    numbers_note = "  where input = [0, 2], weight = [1]"
    wrong = verdict("Conv2d", "values", "float32", "failed", failure=WRONG.noting(numbers_note))
    context = "law 'scaled': of c·x with c²·eps it is the same"
    law = replace(WRONG, law="scaled", context=(context,))
    lines = _text_lines(
        run_of(wrong, verdict("Conv2d", "laws", "float32", "failed", failure=law)), 200
    )
    assert f"   {numbers_note.strip()}" in lines
    assert f"   also fails: {context}" in lines


def test_whose_bug_it_is_stands_in_words_and_a_number_stays_with_its_unit() -> None:
    facts = {"reference": "torch: same", "failure": WRONG}
    failed_verdict = verdict("Conv2d", "values", "float32", "failed", **facts)
    lines = _text_lines(run_of(failed_verdict))
    assert "   torch does the same with this call." in lines
    inherited = replace(failed_verdict, excuses=(Excuse("reason", base="torch"),))
    lines = _text_lines(run_of(inherited))
    assert "   torch does the same with this call: the bug is torch's." in lines
    long_finding = Finding("other", says="x" * 50 + " " + "y" * 13)
    lines = _text_lines(run_of(replace(failed_verdict, failure=long_finding)))
    assert "   (1 item)" in lines


def test_layers_that_are_alike_are_told_in_one_line() -> None:
    verdicts = [
        verdict(layer, check, "float32", "unsupported")
        for layer in ("Conv1d", "Conv2d", "LSTM")
        for check in ("shape", "values", "laws")
    ]
    failed = [verdict("GRU", check, "float32", "failed") for check in ("shape", "values")]
    lines = _text_lines(run_of(*verdicts, *failed, items=("Linear-values-float32-cpu",)))
    assert "– 3 layers not supported: Conv1d, Conv2d, LSTM" in lines
    assert "… 1 layer without a verdict: Linear" in lines
    assert "GRU  ✗ failed: every check" in lines


def test_many_layers_with_known_failures_only_are_counted_and_not_named() -> None:
    known = [verdict(f"Layer{k}", "values", "float32", "known") for k in range(MAX_NAMED_KNOWN + 1)]
    text = " ".join(_text_lines(run_of(*known)))
    assert f"≈ {MAX_NAMED_KNOWN + 1} layers failed in part, as listed among the known" in text
    assert "(-v names them)" in text
    assert "Layer1" not in text
    assert "Layer1" in " ".join(_text_lines(run_of(*known[1:])))


def test_a_family_of_which_every_layer_is_alike_is_told_by_its_name() -> None:
    family = ["RNN", "LSTM", "GRU", "RNNCell"]
    verdicts = [verdict(layer, "shape", "float32", "unsupported") for layer in family]
    conv_verdict = verdict("Conv1d", "shape", "float32", "unsupported")
    facts = {layer: LayerFacts("recurrent", layer, layer) for layer in family}
    facts["Conv1d"] = LayerFacts("convolution", "Conv1d", "Conv1d")

    def shown_lines(*verdicts: Verdict) -> str:
        run = run_of(*verdicts)
        identity = replace(run.identity, layers=facts)
        return next(x for x in _text_lines(replace(run, identity=identity)) if x.startswith("–"))

    assert (
        shown_lines(*verdicts, conv_verdict)
        == "– 5 layers not supported: all 4 of recurrent, Conv1d"
    )
    passed_verdict = verdict("RNNCell", "shape", "float32", "passed")
    assert shown_lines(*verdicts[:3], passed_verdict) == "– 3 layers not supported: RNN, LSTM, GRU"
    # Three layers are few enough to list by name.
    del facts["RNNCell"]
    assert shown_lines(*verdicts[:3]) == "– 3 layers not supported: RNN, LSTM, GRU"


def test_what_layers_lack_in_part_is_told_once_and_is_not_all_that_they_are() -> None:
    verdicts = [
        verdict(layer, check, dtype, "unsupported" if dtype == "float64" else "passed")
        for layer in ("Linear", "Bilinear")
        for check in ("shape", "values")
        for dtype in ("float32", "float64")
    ]
    verdicts += [verdict("Conv1d", c, "float32", s) for c, s in _PARTLY_UNSUPPORTED.items()]
    verdicts += [verdict("LSTM", "shape", "float32", "unsupported")]
    verdicts += [verdict("GRU", "shape", "float32", "passed")]
    assert _text_lines(run_of(*verdicts))[:-1] == [
        "✓ 3 layers passed all that is supported of them",
        "✓ 1 layer passed every check",
        "",
        "– 1 layer not supported: LSTM",
        "– 2 layers not supported in float64: Linear, Bilinear",
        "– 1 layer not supported in gradients: Conv1d",
    ]
    page = markdown(run_of(*verdicts))
    assert "- – 2 not supported in float64: Linear, Bilinear\n" in page
    assert "| Linear | ✓ passed 1/2 |" in page
    assert "| LSTM |" not in page


def test_many_unsupported_layers_are_counted_after_the_failures() -> None:
    unsupported = [verdict(f"Layer{k}", "values", "f", "unsupported") for k in range(40)]
    run = run_of(verdict("Linear", "values", "f", "failed"), *unsupported)
    lines = _text_lines(run)
    gap_index = lines.index("– 40 layers not supported (-v names them)")
    assert gap_index > lines.index("1 likely cause of failure:")
    assert "Layer1" not in " ".join(lines)
    assert "Layer1, Layer2" in " ".join(x.text for x in summary_lines(run, 80, in_full=True))
    page = markdown(run, results="out/r.jsonl")
    assert "- – 40 not supported (`nn-conformance summary out/r.jsonl --all`)" in page
    assert "Layer1, Layer2" in markdown(run, all_causes=True)


def test_causes_that_do_not_show_are_listed_by_a_whole_command() -> None:
    layers = ("Linear", "Conv2d", "ReLU", "LSTM", "GELU", "Softmax", "Dropout")
    failed = [
        verdict(layer, check, "f", "failed", failure=Finding("other", says=f"{layer} {check}"))
        for layer in layers
        for check in ("values", "shape")
    ]
    run = run_of(*failed, options={"results": "out put/r.jsonl"})
    lines = _text_lines(run)
    place = lines.index(f"… and {len(failed) - MAX_CAUSES} more:")
    assert lines[place + 1] == "  nn-conformance summary 'out put/r.jsonl' --all"
    assert "--conformance-results=FILE" in " ".join(_text_lines(run_of(*failed)))


_PARTLY_UNSUPPORTED = {"shape": "passed", "values": "passed", "gradients": "unsupported"}


def test_arrays_and_messages_are_shown_in_part() -> None:
    array = f"[{', '.join(['-0.0'] * 3000)}]"
    drawn_finding = Finding("random", "output", got=array, wanted=array)
    declared_finding = Finding("declared", says="\n".join(f"line {k} of it" for k in range(50)))
    for failure in (drawn_finding, declared_finding):
        verdict_shown = verdict("Dropout", "random", "float32", "failed", failure=failure)
        lines = _text_lines(run_of(replace(verdict_shown, message=verdict_shown.own_message)))
        assert len(lines) < 20
        assert "-0.0" in "\n".join(lines) or "   line 3 of it" in lines


def test_an_item_of_several_causes_is_counted_once() -> None:
    second_cause = Cause("x", call="Linear(2, 2)", failure=WRONG)
    failed = verdict("Linear", "values", "float32", "failed", failure=WRONG, others=(second_cause,))
    assert "1. Linear: wrong values (1 item)" in _text_lines(run_of(failed))
    assert "**Linear**: wrong values (1 item)" in markdown(run_of(failed))


def test_conditions_that_most_passing_cases_meet_are_not_needed() -> None:
    needs = (Need("dim", "None", "0", False, varied=True),)
    for counts, words in {
        (6, 6, 1, 100): "needs dim=None (6 of 6 failing and 1 of 100 passing cases)",
        (6, 9, 2, 14): "fails more often with dim=None (6 of 9 failing and 2 of 14 passing cases)",
        (4, 6, 9, 10): "this call needs dim=None (4 of 6 failing and 9 of 10 passing cases)",
    }.items():
        share = Share(("dim=None",), *counts)
        failed = verdict(
            "Softmax", "values", "f", "failed", failure=WRONG, needs=needs, share=share
        )
        run = run_of(failed)
        assert f"   {words}" in _text_lines(run, 100)
        words = words.partition(" (")[0]
        assert f", {words} (1 item)" in markdown(run)
        assert words.replace("dim=None", "") in render(run)
        assert words in failure_text(failed)


def test_lines_are_styled_by_what_they_tell() -> None:
    styles = {line.text[:12]: line.style for line in summary_lines(rich_run())}
    assert styles["Conv2d  ✗ fa"] == "failed"
    assert styles["LSTM  ◆ cras"] == "crashed"
    assert styles["2 likely cau"] == HEADING
    assert "" in styles.values()
    assert next(iter(table_lines(rich_run()))).style == HEADING


def test_the_table_has_as_many_checks_beside_each_other_as_there_is_room_for() -> None:
    run = run_of(
        *(verdict("Conv1d", check, "float32", "passed") for check in ("shape", "values", "laws"))
    )
    wide = list(table_lines(run, 200))
    assert [line.text.split() for line in wide[:1]] == [["layer", "shape", "values", "laws"]]
    narrow = list(table_lines(run, 40))
    assert max(len(line.text) for line in narrow) <= 40
    assert sum(line.text.startswith("layer ") for line in narrow) == 3
    assert narrow.count(Line("")) == 2
