"""The report: the summary of a run, and the page that shows it, with hostile results too."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from conformance.reports import html, results, summary, text
from conformance.reports import page as pages
from conformance.reports.markdown import markdown

from conformance.layers import CATALOGUE
from conformance.layers.layer_facts import facts_of_layers, layers_by_family
from conformance.model.case import STATUSES, Examples, Verdict
from conformance.model.cause import Cause
from conformance.model.finding import Finding

DTYPES = ("float32", "bfloat16")


def identity(items: tuple[str, ...] = (), **changes: Any) -> results.Identity:
    """The identity of a small run."""
    fields: dict[str, Any] = {
        "schema": results.SCHEMA,
        "suite": "0.1.0",
        "backend": "mine",
        "info": {"mine": "2.4.1", "flags": "AVX512"},
        "torch": "2.9.0",
        "numpy": "2.1.0",
        "hypothesis": "6.140.0",
        "python": "3.12.1",
        "os": "Linux 6.1",
        "cpu": "Some CPU",
        "threads": {"torch": "1"},
        "devices": ("cpu",),
        "dtypes": DTYPES,
        "profile": "standard",
        "seed": 7,
        "examples": 100,
        "shard": "1/1",
        "options": {"--conformance-backend": "mine"},
        "items": items,
        "total": len(items),
        "git": {"commit": "abc123", "dirty": "no"},
        "started": "2026-01-02T03:04:05Z",
        "layers": facts_of_layers(CATALOGUE),
        "catalogue": layers_by_family(),
    }
    return results.Identity(**(fields | changes))


def verdict(layer: str, check: str, dtype: str, status: str, **changes: Any) -> Verdict:
    """One verdict on the device cpu."""
    fields: dict[str, Any] = {
        "id": f"{layer}-{check}-{dtype}-cpu",
        "examples": Examples(drawn=10, checked=10),
        "comparisons": 1000,
        "margin": 0.5,
    }
    if status in summary.BAD or status == "known":
        fields |= {
            "message": f"{layer} got 1.0\nwanted 3.0\nbound 0",
            "call": f"{layer}(1, 1)",
            "case": {"call": {}},
            "reproducer": "import torch\nprint('shown')\n",
            "command": f"pytest -k '{layer}-{check}-{dtype}'",
        }
    return Verdict(
        layer=layer, check=check, dtype=dtype, device="cpu", status=status, **(fields | changes)
    )


def run_of(*verdicts: Verdict, complete: bool = True, **changes: Any) -> results.Run:
    """A run of these verdicts, in their order; changes go to the run, or to its identity."""
    notes = changes.pop("notes", ())
    items = changes.pop("items", tuple(v.id for v in verdicts))
    footer = results.Footer({}, len(verdicts), 61.0, "2026-01-02T03:05:06Z") if complete else None
    return results.Run(identity(items, **changes), verdicts, footer, (), notes)


def mixed_run() -> results.Run:
    """Several layers, every status."""
    unsupported = Examples(drawn=10, unsupported={"padding_mode='circular'": 10})
    partly_supported = Examples(
        drawn=10, checked=7, unsupported={"padding_mode='circular'": 2}, invalid=1
    )
    return run_of(
        verdict("Linear", "values", "float32", "passed", margin=0.25),
        verdict("Conv2d", "shape", "float32", "passed", margin=None, comparisons=0),
        verdict("Conv2d", "shape", "bfloat16", "hung"),
        verdict("Conv2d", "values", "float32", "failed", margin=123456.0),
        verdict("Conv2d", "values", "bfloat16", "passed", examples=partly_supported, margin=0.9999),
        verdict("LSTM", "values", "float32", "crashed", margin=None),
        verdict("LSTM", "values", "bfloat16", "failed", margin=1.0001),
        verdict("GRU", "values", "float32", "known", margin=3.0),
        verdict("Bilinear", "values", "float32", "unsupported", examples=unsupported, margin=None),
        verdict("Identity", "values", "float32", "unchecked", comparisons=0, margin=None),
    )


class Page(HTMLParser):
    """A parsed page: ids, links, attributes that could load something, and text by element."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loading_attributes: list[str] = []
        self.elements: list[tuple[str, Mapping[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open_tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "action", "data", "style") or name[:2] == "on":
                self.loading_attributes.append(f"{tag} {name}={value}")
        if tag not in self.VOID:
            self.open_tags.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open_tags):
            self.texts[tag][-1] += data

    def text(self, tag: str) -> str:
        """The text of all elements of a kind, white space folded."""
        return " ".join(" ".join(self.texts.get(tag, [])).split())


def test_counts_have_every_status() -> None:
    counts = summary.count_statuses(mixed_run())
    assert tuple(counts) == STATUSES
    assert counts == {
        "passed": 3,
        "failed": 2,
        "crashed": 1,
        "hung": 1,
        "unsupported": 1,
        "known": 1,
        "unchecked": 1,
    }


def test_matrix_keeps_the_order_of_layers_and_sorts_checks() -> None:
    items = ("A-errors-float32-cpu", "A-shape-float32-cpu", "B-mine-float32-cpu")
    table = summary.matrix(
        run_of(
            verdict("B", "mine", "float32", "passed"),
            verdict("C", "shape", "float32", "passed"),
            items=items,
        )
    )
    assert table.layers == ("A", "B", "C")
    assert table.checks == ("shape", "errors", "mine")
    a, b, c = table.rows
    assert [cell and cell.tally.status for cell in a.cells] == ["missing", "missing", None]
    assert [cell and cell.tally.status for cell in b.cells] == [None, None, "passed"]
    assert [cell and cell.tally.status for cell in c.cells] == ["passed", None, None]


@pytest.mark.parametrize("place", range(len(summary.SEVERITY) - 1))
def test_the_worst_status_of_a_cell_wins(place: int) -> None:
    worse, better = summary.SEVERITY[place : place + 2]
    cell = (
        summary.matrix(
            run_of(verdict("A", "values", "f", better), verdict("A", "values", "g", worse))
        )
        .rows[0]
        .cells[0]
    )
    assert cell is not None
    assert cell.tally.status == worse
    assert cell.worst is not None
    assert cell.worst.dtype == "g"
    assert cell.tally.statuses == {worse: 1, better: 1}


def test_a_cell_sums_over_dtypes() -> None:
    row = summary.matrix(mixed_run()).rows[1]
    assert row.layer == "Conv2d"
    cell = row.cells[1]
    assert cell is not None
    tally = cell.tally
    assert (tally.drawn, tally.checked, tally.declined, tally.invalid) == (20, 17, 2, 1)
    assert (tally.comparisons, tally.margin, tally.verdicts) == (2000, 123456.0, 2)
    assert row.tally.verdicts == 4


def test_outcome_conformant() -> None:
    run = run_of(
        verdict("A", "values", "float32", "passed"),
        verdict("B", "values", "float32", "unsupported"),
        verdict("C", "values", "float32", "known"),
    )
    outcome = summary.outcome(run)
    assert outcome.name == summary.CONFORMANT
    assert outcome.sentence == (
        "1 of 3 items passed, none failed. The backend does not support 1. "
        "1 failed in part, as listed among the known failures."
    )
    assert summary.is_ok(run)


@pytest.mark.parametrize("status", summary.BAD)
def test_outcome_not_conformant(status: str) -> None:
    run = run_of(verdict("A", "values", "f", "passed"), verdict("B", "values", "f", status))
    outcome = summary.outcome(run)
    assert outcome.name == summary.NOT_CONFORMANT
    assert outcome.sentence == f"Of 2 items, 1 {status}; 1 passed."
    assert not summary.is_ok(run)
    assert [v.layer for v in summary.verdicts_with_status(summary.matrix(run))] == ["B"]


def test_a_run_in_which_all_that_failed_is_known_conforms() -> None:
    run = run_of(verdict("A", "values", "f", "known"))
    assert summary.outcome(run).name == summary.CONFORMANT
    assert summary.outcome(run).sentence.startswith("None of 1 item passed, none failed. 1 failed")
    assert summary.is_ok(run)


def _lead(*given: Verdict, **changes: Any) -> str:
    return summary.outcome(run_of(*given, **changes)).lead


def test_the_lead_sentence_counts_cases_and_layers() -> None:
    passed, failed = (verdict(x, "values", "f", s) for x, s in (("A", "passed"), ("B", "failed")))
    known, lost = (verdict(x, "values", "f", s) for x, s in (("C", "known"), ("D", "crashed")))
    declined = verdict("E", "values", "f", "unsupported")
    assert "test cases: all 2 layers pass." in _lead(passed, verdict("B", "values", "f", "passed"))
    assert _lead(passed).endswith("its only layer passes.")
    assert _lead(failed).endswith("its only layer fails.")
    assert _lead(passed, failed).endswith("of 2 layers, 1 fails and 1 passes.")
    assert _lead(passed, failed, known, lost, declined).endswith(
        "of 5 layers, 2 fail (1 crashes), 1 fails only as listed and 1 is not supported."
    )
    assert _lead(passed, items=(passed.id, "B-values-f-cpu")).endswith(
        "of 2 layers, 1 is not fully tested and 1 passes."
    )
    assert "has not been tested: no test case has a result." in _lead()


def test_headline_names_checks_that_compared_nothing_or_too_little() -> None:
    gaps = {"random": ("D",), "layout": ("A", "B", "C", "D")}
    run = run_of(
        *(verdict(layer, "shape", "f", "passed") for layer in "ABCD"),
        *(verdict(layer, c, "f", "unsupported") for c, layers in gaps.items() for layer in layers),
        verdict("A", "values", "f", "passed", thin="2 of 40 structures (declined)"),
        verdict("B", "values", "f", "unsupported"),
        verdict("B", "values", "g", "passed"),
        verdict("Unsupported", "values", "f", "unsupported"),
    )
    outcome = summary.outcome(run)
    untested = "ot tested: random (D), layout (A, B, C and 1 more)"
    thin = "1 verdict is thin (declined): values (A)"
    assert outcome.headline.endswith(f"0 new; n{untested}; {thin}.")
    assert f"N{untested}. {thin}." in Page(html.render(run)).text("p")
    assert f"; n{untested}; {thin}.**" in markdown(run)
    assert outcome.lead.endswith("of 5 layers, 1 is not supported and 4 pass what was tested.")
    complete = summary.outcome(run_of(verdict("A", "values", "f", "passed")))
    assert (complete.untested, complete.lead[-22:]) == ("", "its only layer passes.")


@pytest.mark.parametrize("status", ["unsupported", "unchecked"])
def test_outcome_nothing_passed(status: str) -> None:
    run = run_of(verdict("A", "values", "f", status))
    assert summary.outcome(run).name == summary.NOTHING_PASSED
    assert summary.outcome(run).sentence.startswith(f"Of 1 item none passed: 1 {status}.")
    assert not summary.is_ok(run)


def test_outcome_of_nothing() -> None:
    run = run_of()
    assert summary.outcome(run).name == summary.NOTHING_PASSED
    assert not summary.is_ok(run)
    assert "The run names no layer." in Page(html.render(run)).text("main")


@pytest.mark.parametrize("complete", [True, False])
def test_outcome_incomplete(complete: bool) -> None:
    items = ("A-values-float32-cpu", "A-values-bfloat16-cpu", "Z-values-float32-cpu")
    run = run_of(verdict("A", "values", "float32", "passed"), items=items, complete=complete)
    outcome = summary.outcome(run)
    assert outcome.name == summary.INCOMPLETE
    assert outcome.missing == items[1:]
    assert "2 of 3 items have no verdict." in outcome.sentence
    assert ("no last line" in outcome.sentence) is not complete
    page = Page(html.render(run))
    assert "Incomplete run." in page.text("main")
    assert items[2] in page.text("li")


def test_a_run_without_footer_is_incomplete_though_all_items_are_there() -> None:
    run = run_of(verdict("A", "values", "float32", "passed"), complete=False)
    assert summary.outcome(run).name == summary.INCOMPLETE


def test_a_footer_that_counts_more_verdicts_than_there_are_makes_the_run_incomplete() -> None:
    run = results.Run(
        identity(), (verdict("A", "values", "f", "passed"),), results.Footer({}, 3, 1.0, "now")
    )
    assert summary.outcome(run).name == summary.INCOMPLETE
    assert "2 verdicts cannot be read" in summary.outcome(run).gap


def test_a_failure_outweighs_incompleteness() -> None:
    run = run_of(verdict("A", "values", "f", "failed"), complete=False)
    assert summary.outcome(run).name == summary.NOT_CONFORMANT
    assert "no last line" in summary.outcome(run).sentence


def test_a_shard_says_so() -> None:
    run = run_of(verdict("A", "values", "f", "passed"), shard="2/4", total=4)
    assert "This is shard 2/4: 1 of the whole run's 4 items." in summary.outcome(run).sentence


def test_an_id_that_comes_twice_counts_once_and_the_worst_stays() -> None:
    first = verdict("A", "values", "f", "crashed", message="first")
    later = verdict("A", "values", "f", "crashed", message="later")
    run = run_of(first, later, verdict("A", "values", "f", "passed"))
    assert summary.unique_verdicts(run) == (later,)


def test_a_status_of_another_version_counts_as_unchecked() -> None:
    run = run_of(verdict("A", "values", "f", "passed"), verdict("B", "values", "f", "splendid"))
    assert summary.count_statuses(run)["unchecked"] == 1
    assert not summary.is_ok(run)


def test_reasons_come_most_frequent_first() -> None:
    (reason,) = summary.unsupported(mixed_run())
    assert reason == summary.Reason("padding_mode='circular'", 12, ("Conv2d", "Bilinear"))


def test_margins_hold_passing_checks() -> None:
    table = summary.margins(mixed_run())
    assert table.dtypes == DTYPES
    margins = {layer: tuple(v.margin if v else None for v in worst) for layer, worst in table.rows}
    assert margins["Linear"] == (0.25, None)
    assert margins["Conv2d"] == (123456.0, 0.9999)
    assert "Identity" not in margins


def test_margins_that_are_no_numbers_are_left_out() -> None:
    run = run_of(verdict("A", "values", "f", "passed", margin=float("nan")))
    assert summary.margins(run).rows == ()
    assert summary.totals(run).margin is None


def test_the_page_names_the_dtypes_that_have_verdicts() -> None:
    shown = Page(html.render(run_of(verdict("A", "values", "float32", "passed")))).text("p")
    assert "· cpu · float32 · seed" in shown
    assert "· cpu · float32, bfloat16 · seed" in Page(html.render(run_of())).text("p")


def test_an_item_with_two_causes_is_one_failing_item() -> None:
    second_cause = Cause("second", failure=Finding("other", says="second"))
    failed = verdict(
        "Linear", "values", "float32", "failed",
        failure=Finding("other", says="first"), others=(second_cause,),
    )  # fmt: skip
    shown = Page(html.render(run_of(failed))).text("p")
    assert "1 failing item with 2 likely causes" in shown


def test_the_page_is_well_formed_and_its_links_lead_somewhere() -> None:
    page = Page(html.render(mixed_run()))
    assert len(page.ids) == len(set(page.ids))
    assert len(page.links) > 10
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links if not link.startswith("#q=")} <= set(page.ids)


def test_every_failing_cell_links_to_its_failure() -> None:
    run = mixed_run()
    page = Page(html.render(run))
    linked_ids = []
    for row in summary.matrix(run).rows:
        for cell in row.cells:
            if cell and cell.tally.status in summary.BAD:
                assert cell.worst is not None
                assert f"#{cell.worst.id}" in page.links
                linked_ids.append(cell.worst.status)
    assert sorted(linked_ids) == ["crashed", "failed", "hung", "unchecked"]
    listed_ids = summary.verdicts_with_status(summary.matrix(run), (*summary.BAD, "known"))
    assert len(listed_ids) == 6
    assert {v.id for v in listed_ids} <= set(page.ids)


def test_failures_are_told_in_full() -> None:
    text = Page(html.render(mixed_run(), results="out/my results.jsonl"))
    shown_texts = text.texts["pre"]
    assert "Conv2d(1, 1)" in shown_texts
    assert "Conv2d got 1.0\nwanted 3.0\nbound 0" in shown_texts
    assert "import torch\nprint('shown')\n" in shown_texts
    assert "pytest -k 'Conv2d-values-float32'" in shown_texts
    assert "nn-conformance replay 'out/my results.jsonl' Conv2d-values-float32-cpu" in shown_texts


def test_what_ran_that_is_under_test_is_counted() -> None:
    verdicts = (
        verdict("Linear", check, "float32", "passed", hits={"aten::addmm": addmm, "aten::mm": mm})
        for check, addmm, mm in (("values", 1200, 0), ("laws", 34, 5))
    )
    page = Page(html.render(run_of(*verdicts)))
    terms = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    assert terms["aten::addmm"] == "1\u202f234 times, items 2"
    assert terms["aten::mm"] == "5 times, items 1"


def test_provenance_is_shown() -> None:
    page = Page(html.render(mixed_run()))
    terms = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
    expected = {
        "name": "mine",
        "flags": "AVX512",
        "torch": "2.9.0",
        "NumPy": "2.1.0",
        "Hypothesis": "6.140.0",
        "Python": "3.12.1",
        "OS": "Linux 6.1",
        "CPU": "Some CPU",
        "threads, torch": "1",
        "devices": "cpu",
        "dtypes": "float32, bfloat16",
        "profile": "standard",
        "seed": "7",
        "shard": "1/1",
        "started": "2026-01-02T03:04:05Z",
        "duration": "1 min 1 s",
        "git commit": "abc123",
        "--conformance-backend": "mine",
    }
    assert expected.items() <= terms.items()


def test_tables_have_captions_and_scopes() -> None:
    page = Page(html.render(mixed_run()))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") > 3
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in page.elements if tag == "th")


def test_states_have_glyph_and_text() -> None:
    page = Page(html.render(mixed_run()))
    cell_texts = [" ".join(text.split()) for text in page.texts["td"]]
    for status in set(STATUSES) - {"unsupported"}:
        assert any(text.startswith(f"{summary.GLYPHS[status]} {status}") for text in cell_texts)
    # Layers that a backend lacks altogether are listed once, above the matrix.
    paragraphs = [" ".join(text.split()) for text in page.texts["p"]]
    assert any(" layer not supported: " in text for text in paragraphs)


def test_nothing_is_loaded_and_the_policy_forbids_it() -> None:
    page_text = html.render(mixed_run())
    page = Page(page_text)
    assert page.loading_attributes == []
    assert "://" not in page_text
    assert not re.search(r"url\(|@import", page_text)
    (policy,) = (
        attrs["content"] or ""
        for tag, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        # The elements before the script are data, which browsers never run.
        *data, source = page.texts[tag]
        assert all(re.fullmatch(r"[A-Za-z0-9+/=]*", block) for block in data)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


SCRIPT = "<script>alert(1)</script>"
NASTY = (
    f"{SCRIPT}'\"><img src=x onerror=alert(1)>\x1b[31mred\x1b[0m \x00 \ud800 \u202e {{{{ 7 * 7 }}}}"
)


def test_hostile_texts_are_shown_and_harmless() -> None:
    hostile = verdict(
        NASTY,
        NASTY,
        NASTY,
        "failed",
        id=NASTY,
        message=NASTY,
        call=NASTY,
        reproducer=NASTY,
        command=NASTY,
        examples=Examples(2, 1, {NASTY: 1}),
    )
    plain_verdict = verdict("matrix", "values", "f", "failed", id="matrix")
    run = run_of(
        hostile,
        plain_verdict,
        backend=NASTY,
        info={NASTY: NASTY},
        options={NASTY: NASTY},
        devices=(NASTY,),
        git={NASTY: NASTY},
        items=(NASTY, "", "a-b-c-d", NASTY + "x"),
        notes=(NASTY,),
        shard=NASTY,
    )
    page_text = html.render(run, NASTY)
    page_text.encode("utf-8")
    page = Page(page_text)
    assert page.loading_attributes == []
    assert SCRIPT not in page_text
    assert not any(tag == "img" for tag, _ in page.elements)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\ud800-\udfff]", page_text)
    (heading,) = page.texts["h1"]
    assert heading.startswith(
        f"{SCRIPT}'\"><img src=x onerror=alert(1)>red \\x00 \\ud800 \\u202e {{{{ 7 * 7 }}}} "
    )
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if not link.startswith("#q=")} <= set(page.ids)


def test_long_texts_are_cut_and_say_so() -> None:
    long = verdict("A", "values", "f", "failed", message="m" * 3_000_000, reproducer="r" * 200_000)
    page_text = html.render(run_of(long, backend="b" * 1000))
    assert len(page_text) < 300_000
    assert f"{'m' * pages.MAX_MESSAGE} … cut, 3\u202f000\u202f000 characters" in page_text
    assert f"{'r' * pages.MAX_SCRIPT} … cut, 200\u202f000 characters" in page_text
    assert f"{'b' * text.MAX_SHORT} … cut, 1\u202f000 characters" in page_text


def test_many_long_texts_share_the_room_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "PAGE", 50_000)
    verdicts = (verdict(f"L{i}", "values", "f", "failed", message="m" * 20_000) for i in range(100))
    page_text = html.render(run_of(*verdicts))
    assert page_text.count("m" * 20_000) == 2
    assert page_text.count("… cut, 20\u202f000 characters") == 98


def test_unreadable_lines_are_announced() -> None:
    run = run_of(verdict("A", "values", "f", "passed"), notes=("results, line 3: truncated",))
    page = Page(html.render(run))
    assert "1 line of the results could not be read" in page.text("main")
    assert "results, line 3: truncated" in page.text("li")


def test_the_same_run_gives_the_same_page() -> None:
    assert html.render(mixed_run()) == html.render(mixed_run())


@pytest.mark.parametrize(
    ("margin", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (0.0, "0.000"),
        (1e-9, "<\u202f0.001"),
        (0.9999, "0.999"),
        (1.0, "1.000"),
        (1.0001, "1.01"),
        (123456.0, "1.23e5"),
        (1e300, "1e300"),
    ],
)
def test_a_ratio_never_seems_to_lie_on_the_other_side_of_its_bound(
    margin: float | None, shown: str
) -> None:
    assert text.ratio(margin) == shown


def test_shares_say_0_and_100_only_where_they_mean_them() -> None:
    shares = [text.share(part, 10_000) for part in (0, 1, 5000, 9999, 10_000)]
    assert shares == ["0\u202f%", "<\u202f0.1\u202f%", "50.0\u202f%", "99.9\u202f%", "100\u202f%"]
    assert text.share(0, 0) == "–"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (99_949, "100k"), (999_500, "1.0M"), (10**13, "10T")],
)
def test_compact_numbers(number: int, shown: str) -> None:
    assert text.compact(number) == shown


def test_spread_is_the_exact_share_and_the_limit_of_most() -> None:
    assert text.spread({}) == ""
    assert text.spread({"exact": 5}).replace("\u202f", " ") == "100 % exact"
    counts = {"exact": 50, "-1": 30, "2": 19, "40": 1}
    assert text.spread(counts).replace("\u202f", " ") == "50.0 % exact, 99 % < 8 ulp"
    assert text.spread({"exact": 1000, "40": 1}).replace("\u202f", " ") == "99.9 % exact"
