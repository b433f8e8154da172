"""Annotations of a GitHub job."""

from __future__ import annotations

from made_runs import WRONG, large_run, rich_run
from test_report import run_of, verdict

from conformance.model.cause import Need
from conformance.model.finding import Finding
from conformance.plugin.annotations import MAX_ANNOTATIONS, annotation_lines, is_github_job


def test_a_cause_is_one_annotation_whatever_the_number_of_items() -> None:
    lines = list(annotation_lines(rich_run()))
    assert len(lines) == 2
    wrong = next(line for line in lines if "Conv2d" in line)
    title, _, text = wrong.removeprefix("::error title=").partition("::")
    assert title == "Conv2d%2C LazyConv2d%3A wrong values with dilation > 1 and groups > 1"
    assert text.startswith("Conv2d(2, 2, 1, dilation=2, groups=2) on input (2, 1, 1), float32, cpu")
    assert "%0Agot 9%0Awanted 8%0Abound 0: equality" in text


def test_github_shows_no_more_than_ten_of_a_step() -> None:
    lines = list(annotation_lines(large_run(20_000)))
    assert len(lines) <= MAX_ANNOTATIONS
    needs = [(Need(f"argument{k}", "2", "1", False),) for k in range(MAX_ANNOTATIONS + 5)]
    failures = [
        verdict(f"Layer{k}", "values", "float32", "failed", failure=WRONG, needs=need)
        for k, need in enumerate(needs)
    ]
    lines = list(annotation_lines(run_of(*failures)))
    assert len(lines) == MAX_ANNOTATIONS
    assert "6 more causes" in lines[-1]


def test_nothing_in_the_text_ends_the_annotation_or_begins_another() -> None:
    text = "100%\r\n::error title=x::y\x1b[31m, z: \u202e"
    hostile_verdict = verdict(
        text, "values", "float32", "failed", message=text, call=text, reference=text
    )
    (line,) = annotation_lines(run_of(hostile_verdict, backend=text))
    assert "\n" not in line
    assert "\r" not in line
    assert "\x1b" not in line
    assert "\u202e" not in line
    title, _, message = line.removeprefix("::error ").partition("::")
    assert title.startswith("title=100%25 %3A%3Aerror title=x%3A%3Ay%2C z%3A")
    assert message.startswith("100%25 ::error")


def test_what_passes_or_fails_as_listed_has_none_and_what_has_gone_stale_has_one() -> None:
    known_verdict = verdict(
        "GRU", "values", "float32", "known", message="known failure: its reason"
    )
    passed_verdict = verdict("Linear", "values", "float32", "passed")
    assert not list(annotation_lines(run_of(known_verdict, passed_verdict)))
    stale_finding = Finding("stale", says="a known failure passes now: its reason")
    stale_fields = {"failure": stale_finding, "message": stale_finding.says, "call": None}
    stale_verdict = verdict("GRU", "laws", "float32", "failed", **stale_fields)
    (line,) = annotation_lines(run_of(known_verdict, passed_verdict, stale_verdict))
    assert line.startswith("::error title=GRU%3A a stale known failure::")
    assert stale_finding.says in line


def test_a_run_without_a_failure_that_is_not_conformant_says_why() -> None:
    unsupported = verdict("Linear", "values", "float32", "unsupported")
    (line,) = annotation_lines(run_of(unsupported, backend="mine"))
    assert line == "::error title=mine%3A nothing passed::Of 1 item none passed: 1 unsupported."


def test_only_a_job_of_github_has_annotations() -> None:
    assert is_github_job({"GITHUB_ACTIONS": "true"})
    assert not is_github_job({"GITHUB_ACTIONS": "false"})
    assert not is_github_job({})
