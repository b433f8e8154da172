"""The table of coverage: each layer counts once, in its family, by its outcome."""

from __future__ import annotations

import pytest
from conformance.reports import html, summary
from conformance.reports.coverage import OUTCOMES, Coverage, coverage, layer_outcome
from conformance.reports.results import Run
from test_report import Page, mixed_run, run_of, verdict

from conformance.layers import CATALOGUE
from conformance.layers.layer_facts import layers_by_family
from conformance.model.case import STATUSES


def _coverage_by_family(run: Run) -> dict[str, Coverage]:
    return {row.family: row for row in coverage(run, summary.matrix(run))}


def _outcome_counts(**counts: int) -> dict[str, int]:
    return dict.fromkeys(OUTCOMES, 0) | counts


def test_layers_are_counted_by_family() -> None:
    rows = _coverage_by_family(mixed_run())
    families = layers_by_family()
    assert tuple(rows) == ("linear", "convolution", "recurrent", "")
    linear = _outcome_counts(passed=1, unchecked=1, unsupported=1)
    assert rows["linear"] == Coverage("linear", families["linear"], 3, linear)
    assert rows["convolution"].outcomes == _outcome_counts(failed=1)
    assert rows["recurrent"].outcomes == _outcome_counts(failed=1, known=1)
    all_outcomes = _outcome_counts(passed=1, known=1, failed=2, unchecked=1, unsupported=1)
    assert rows[""] == Coverage("", len(CATALOGUE), 6, all_outcomes)


@pytest.mark.parametrize(
    ("statuses", "found"),
    [
        (("passed", "unsupported"), "passed"),
        (("passed", "known", "unsupported"), "known"),
        (("unsupported", "unsupported"), "unsupported"),
        (("passed", "unchecked", "known"), "unchecked"),
        (("unchecked", "failed"), "failed"),
        (("passed", "crashed"), "failed"),
        (("hung",), "failed"),
        (("splendid", "passed"), "unchecked"),
    ],
)
def test_the_worst_item_decides_and_unsupported_only_alone(
    statuses: tuple[str, ...], found: str
) -> None:
    dtypes = ("float32", "float64", "bfloat16")
    run = run_of(*(verdict("ReLU", "values", d, s) for d, s in zip(dtypes, statuses, strict=False)))
    assert _coverage_by_family(run)["activation"].outcomes == _outcome_counts(**{found: 1})


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_some_outcome(status: str) -> None:
    table = summary.matrix(run_of(verdict("ReLU", "values", "float32", status)))
    assert layer_outcome(table.rows[0].tally) in OUTCOMES


def test_an_item_without_a_verdict_leaves_its_layer_unchecked() -> None:
    items = ("ReLU-values-float32-cpu", "ReLU-shape-float32-cpu")
    run = run_of(verdict("ReLU", "values", "float32", "passed"), items=items)
    assert _coverage_by_family(run)["activation"].outcomes == _outcome_counts(unchecked=1)


def test_a_layer_of_no_known_family_is_not_counted() -> None:
    passed = [verdict(layer, "values", "float32", "passed") for layer in ("ReLU", "Mine")]
    rows = _coverage_by_family(run_of(*passed))
    assert rows["activation"].run == rows[""].run == 1


def test_the_page_has_the_table() -> None:
    text = html.render(mixed_run())
    page = Page(text)
    assert "coverage" in page.ids
    assert "#coverage" in page.links
    assert "In the suite" in page.text("th")
    assert "Nothing was run for the other families." in page.text("p")
    assert "<td" in text.partition('id="coverage"')[2].partition("</section>")[0]


def test_files_of_older_versions_tell_less() -> None:
    run = run_of(verdict("ReLU", "values", "float32", "passed"), catalogue={})
    assert [row.known for row in coverage(run, summary.matrix(run))] == [None, None]
    assert "In the suite" not in Page(html.render(run)).text("th")
    run = run_of(verdict("ReLU", "values", "float32", "passed"), catalogue={}, layers={})
    assert coverage(run, summary.matrix(run)) == ()
    assert "coverage" not in Page(html.render(run)).ids
