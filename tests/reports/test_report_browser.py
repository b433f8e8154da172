"""The pages in a headless Chromium, opened from disk: everything that a reader does with them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conformance.reports import compare, html, scoreboard_html
from conformance.reports.history import History, RecordedRelease, add_runs, record_run
from conformance.reports.scoreboard import board
from conformance.reports.scoreboard_site import render_site
from made_runs import large_run, next_run, rich_run
from test_report import NASTY, run_of, verdict

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import Page, sync_playwright
except ImportError:
    sync_playwright = None

if not os.environ.get("CI") and (sync_playwright is None or CHROMIUM is None):
    pytest.skip("needs playwright, axe-playwright-python and chromium", allow_module_level=True)

Opener = Callable[..., Any]
SITE = Path(__file__).resolve().parents[2] / "docs" / "site"
SHOWN = "document.querySelector('#shown')?.textContent !== ''"
"""The filter of a page, if it has one, has counted its rows."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert sync_playwright is not None, "playwright and axe-playwright-python are not installed"
    assert CHROMIUM is not None, "chromium is not installed"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opener]:
    """Opens a page's text; whatever it logs, loads from elsewhere or pops up fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_page(text: str, hash: str = "", ready: str = SHOWN, **settings: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(text, encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda box: (complaints.append("a dialog"), box.dismiss()))
        page.on(
            "request",
            lambda r: (
                complaints.append(r.url) if not r.url.startswith(("file:", "blob:")) else None
            ),
        )
        page.goto(file.as_uri() + hash)
        if settings.get("java_script_enabled", True):
            _wait_until(page, ready)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def report() -> str:
    return html.render(rich_run(), "runs/my results.jsonl")


def _wait_until(page: Page, expression: str) -> None:
    """Wait until an expression is true; the page's policy forbids Playwright's own way to wait."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(20)


def _accessibility_violations(page: Page) -> list[str]:
    """What axe-core finds, with the elements."""
    violations = Axe().run(page).response["violations"]
    return [f"{v['id']}: {[node['html'][:200] for node in v['nodes'][:3]]}" for v in violations]


def _visible_rows(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("#rows tbody th").all_inner_texts()]


def _set_query(page: Page, query: str) -> None:
    page.fill("#query", query)
    wanted_hash = json.dumps(f"#q={query}" if query else "")
    _wait_until(page, f"decodeURIComponent(location.hash.replace(/[+]/g, ' ')) === {wanted_hash}")


QUERIES = (
    ("", 11),
    ("layer:*conv2d", 5),
    ("layer:Conv* status:failed check:gradients dtype:float32", 1),
    ("status:failed,crashed", 5),
    ("-status:passed,failed", 4),
    ("!layer:*Conv* dtype:bfloat16", 1),
    ("status:missing", 1),
    ("SIGSEGV", 1),
    ('"the worst of"', 4),
    ("nothing:here", 0),
)


def test_the_filter_understands_its_language(opened: Opener, report: str) -> None:
    page = opened(report)
    for query, number in QUERIES:
        _set_query(page, query)
        assert len(_visible_rows(page)) == number, query


def test_a_filter_changes_matrix_and_failures_and_is_in_the_address(
    opened: Opener, report: str
) -> None:
    page = opened(report)
    rows_before = page.locator(".matrix tbody tr:visible").count()
    page.click("button[data-field=dtype][data-value=bfloat16]")
    assert page.input_value("#query") == "dtype:bfloat16"
    assert page.url.endswith("#q=dtype:bfloat16")
    assert page.get_attribute("button[data-value=bfloat16]", "aria-pressed") == "true"
    assert page.locator(".matrix tbody tr:visible").count() == 2 < rows_before
    cell = page.locator(".matrix tr[data-layer=Conv2d] td").nth(1)
    assert "failed" in cell.inner_text()
    assert page.locator(".entry:visible").count() == 1
    page.click("button[data-value=bfloat16]")
    assert page.locator(".matrix tbody tr:visible").count() == rows_before
    page.click("button[data-value=crashed]")
    page.click("form#filters button[type=reset]")
    _wait_until(page, "!location.hash")
    assert page.locator(".entry:visible").count() == 2


def test_addresses_lead_to_filters_verdicts_and_failures(opened: Opener, report: str) -> None:
    page = opened(report, "#q=layer:Linear+-dtype:float32")
    assert _visible_rows(page) == ["Linear · values · bfloat16 · cpu"]
    page = opened(report, "#Linear-values-bfloat16-cpu")
    _wait_until(page, "document.querySelector(':target')")
    page = opened(report, "#Bilinear-values-float32-cpu")
    page.wait_for_selector("dialog#evidence[open]")
    assert "Bilinear is not offered" in page.inner_text("#evidence_body")
    page = opened(report, "#Conv2d-values-bfloat16-cpu")
    _wait_until(page, "document.querySelector(':target')?.closest('details').open")


def test_a_cell_leads_to_its_evidence(opened: Opener, report: str) -> None:
    page = opened(report)
    page.click(".matrix tr[data-layer=LSTM] td.crashed a")
    assert page.url.endswith("#LSTM-values-float32-cpu")
    page.click(".matrix tr[data-layer=Linear] td.passed a")
    _wait_until(page, "document.querySelectorAll('#rows tbody tr').length === 2")
    page.click("#rows tbody a >> nth=0")
    assert "numbers compared" in page.inner_text("dialog#evidence")
    page.keyboard.press("Escape")
    _wait_until(page, "location.hash === '#q=layer:Linear+check:values'")


def test_the_map_at_a_glance_has_a_square_for_each_cell(opened: Opener, report: str) -> None:
    page = opened(report)
    number = "document.querySelectorAll('{}').length"
    square_count = page.evaluate(number.format("#heat_map .squares .square"))
    assert square_count == page.evaluate(number.format(".matrix tbody td")) > 0
    squares, cells = "#heat_map .squares a", ".matrix tbody td a"
    links_script = "[...document.querySelectorAll('{}')].map((a) => a.className + a.hash).sort()"
    cell_links = links_script.format(cells).replace("a.className", "a.parentNode.className")
    square_count = page.evaluate(links_script.format(squares))
    assert [x.removeprefix("square ") for x in square_count] == page.evaluate(cell_links)


def test_a_failure_says_what_it_needs(opened: Opener, report: str) -> None:
    text = opened(report).locator(".entry.failed").first.inner_text()
    assert (
        "needs dilation > 1 and groups > 1; also fails with other values of padding, bias" in text
    )
    assert "7 of 40 examples fail" in text
    assert "nn-conformance replay 'runs/my results.jsonl' Conv2d-values-float32-cpu" in text


def test_keys(opened: Opener, report: str) -> None:
    page = opened(report)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("j")
    _wait_until(
        page, "location.hash === '#q=j'"
    )  # else its rows would replace those that have focus
    _set_query(page, "")
    page.keyboard.press("Escape")
    focused = []
    for key in "jjjk":
        page.keyboard.press(key)
        focused.append(page.evaluate("document.activeElement.textContent"))
    assert "LSTM" in focused[0]
    assert focused[1] == focused[3]
    assert len(set(focused)) == 3
    page.keyboard.press("?")
    assert page.is_visible("dialog#help")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog#help")


def test_copy_buttons_copy(opened: Opener, report: str) -> None:
    page = opened(report, permissions=["clipboard-read", "clipboard-write"])
    entry = page.locator(".entry.failed").first
    entry.get_by_role("button", name="Copy: Minimal call").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("Conv2d(2, 2, 1, dilation=2")
    entry.locator("summary", has_text="Reproducer").click()
    entry.get_by_role("button", name="Copy: Reproducer").click()
    assert page.evaluate("navigator.clipboard.readText()") == "import torch\nprint('shown')\n"


def test_the_results_can_be_downloaded(opened: Opener, report: str, tmp_path: Path) -> None:
    page = opened(report)
    with page.expect_download() as download:
        page.click("#download")
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [line["kind"] for line in lines] == [
        "run",
        *["verdict"] * 10,
        *["benchmark"] * 2,
        "footer",
    ]
    assert lines[2]["reproducer"].startswith("import torch")


def test_charts_are_drawn_beside_what_they_tell(opened: Opener, report: str) -> None:
    page = opened(report)
    entries = page.locator(".nearness li")
    verdicts_with_ulps = sum(bool(verdict.ulps) for verdict in rich_run().verdicts)
    assert page.locator(".nearness svg.hist path.bar").count() == 2 * verdicts_with_ulps > 0
    label = page.locator(".nearness svg.hist").first.get_attribute("aria-label") or ""
    assert ": error ÷ bound, at most " in label
    assert "of the bound at most, by" in (entries.first.locator("a").text_content() or "")


def test_heat_maps_come_when_they_are_asked_for(opened: Opener, report: str) -> None:
    page = opened(report)
    page.click("details.space summary >> nth=0")
    page.wait_for_selector("details.space[open] svg.heat path")
    assert "stride 2" in (page.text_content("details.space[open] svg.heat .labels") or "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nobody_is_shut_out(opened: Opener, report: str, scheme: str, width: int) -> None:
    page = opened(report, color_scheme=scheme, viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_selector("svg.heat")
    assert _accessibility_violations(page) == []
    page.keyboard.press("?")
    assert _accessibility_violations(page) == []


def test_dark_is_dark(opened: Opener, report: str) -> None:
    shades = [
        opened(report, color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    ]
    assert shades == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]


def test_without_javascript_the_essentials_are_there(opened: Opener, report: str) -> None:
    page = opened(report, java_script_enabled=False)
    text = page.inner_text("body")
    for selector in (
        "not conformant",
        "✗ failed",
        "Conv2d(2, 2, 1, dilation=2",
        "wanted",
        "Numerics",
        "1.25",
    ):
        assert selector in text
    assert not page.is_visible("#filters")
    page.click("details.space summary >> nth=0")
    assert "padding_mode" in page.inner_text("details.space[open]")


def test_on_paper_everything_is_open_and_controls_are_gone(opened: Opener, report: str) -> None:
    page = opened(report)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert not page.is_visible("#filters")
    assert page.is_visible(".script >> nth=0")


def test_hostile_texts_do_nothing(opened: Opener) -> None:
    facts = {"message": NASTY, "call": NASTY, "reproducer": NASTY, "command": NASTY}
    hostile = verdict(NASTY, NASTY, NASTY, "failed", id=NASTY, **facts)
    huge = verdict("Linear", "values", "float32", "failed", message="\x1b[31mm\x00" * 500_000)
    text = html.render(run_of(hostile, huge, backend="<script>alert(1)</script>"))
    page = opened(text)
    assert page.inner_text("h1").startswith("<script>alert(1)</script> does what ")
    page.click("#rows tbody a >> nth=0")
    assert "<script>alert(1)</script>" in page.inner_text("#evidence_body")
    page.keyboard.press("Escape")
    page.click("#rows tbody a >> nth=1")
    assert "\\x00" in page.inner_text("#evidence_body")
    assert "… cut" in page.inner_text("#evidence_body")


def test_a_comparison_can_be_filtered(opened: Opener) -> None:
    run = rich_run()
    text = compare.render(compare.compare(run, next_run(run)), ("a.jsonl", "b.jsonl"))
    page = opened(text)
    assert "1 broken, 1 fixed, 1 new, 1 gone, 1 with another margin" in page.inner_text(".sentence")
    _set_query(page, "is:new")
    assert [t.strip() for t in page.locator("tr[data-id]:visible th").all_inner_texts()] == [
        "RNN · values · float32 · cpu"
    ]
    _set_query(page, "-is:new status:failed")
    assert page.locator("tr[data-id]:visible").count() == 1
    assert "slower" in page.inner_text("#speed")
    assert _accessibility_violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_scoreboard_shuts_nobody_out(opened: Opener, scheme: str, width: int) -> None:
    runs = [
        replace(rich_run(), identity=replace(rich_run().identity, backend=name))
        for name in "abcdef"
    ]
    text = scoreboard_html.render(board(runs))
    page = opened(text, color_scheme=scheme, viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert _accessibility_violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_scoreboard_of_days_shuts_nobody_out(opened: Opener, scheme: str, width: int) -> None:
    run = rich_run()
    recorded = next(record_run(run))
    earlier = msgspec.structs.replace(recorded, day="2020-01-01", failed=7)
    releases = [RecordedRelease(recorded.backend, version, 3, 1) for version in ("1.0", "2.0")]
    files = render_site(add_runs(History(releases=tuple(releases)), [earlier, recorded]))
    for name, text in files.items():
        if name.endswith(".html"):
            page = opened(text, color_scheme=scheme, viewport={"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert _accessibility_violations(page) == []


def test_the_site_filters_its_long_tables(opened: Opener) -> None:
    def table(rows: int) -> str:
        cells = "".join(f"<tr><td>finding {k}</td><td>2.{k % 3}</td></tr>" for k in range(rows))
        return f'<table class="docutils"><tbody>{cells}</tbody></table>'

    script = (SITE / "static" / "filter.js").read_text()
    text = f"<!doctype html><main>{table(30)}{table(5)}</main><script>{script}</script>"
    page = opened(text, ready="true")
    assert page.get_by_role("searchbox").count() == 1
    page.get_by_role("searchbox").fill("FINDING 2.1")
    assert page.locator("output").inner_text() == "10 of 30 rows"
    visible_rows = [row for row in page.locator("tr").all() if row.is_visible()]
    assert len(visible_rows) == 10 + 5
    page.get_by_role("searchbox").fill("")
    assert page.locator("output").inner_text() == "30 of 30 rows"


def test_twenty_thousand_verdicts_are_small_and_quickly_laid_out(opened: Opener) -> None:
    text = html.render(large_run(20_000))
    assert len(text.encode()) <= 2_000_000
    page = opened(text)
    # The time until something is visible depends on how much the browser has to lay out. A cell
    # stands for several verdicts, and a verdict has no row until the reader opens it.
    half_page = opened(html.render(large_run(10_000)))
    element_counts = [
        p.evaluate("document.querySelectorAll('*').length") for p in (page, half_page)
    ]
    assert element_counts[0] - element_counts[1] < 10_000
    _set_query(page, "layer:Layer7 status:failed")
    assert 0 < len(_visible_rows(page)) <= 100


@pytest.mark.nightly
def test_a_hundred_thousand_verdicts_still_open(opened: Opener) -> None:
    page = opened(html.render(large_run(100_000, simplified=True)))
    assert "100\u202f000 verdicts" in page.inner_text("#shown")
