"""Each shipped known failure names its class; the full page lists each finding once."""

from __future__ import annotations

import re

import findings
import findings_table
import measured
import pytest

ALL = list(findings.entries())


def test_every_file_has_its_place_on_the_page() -> None:
    assert {path.stem for path in findings.FOLDER.glob("*.toml")} == set(findings.BACKENDS)


@pytest.mark.parametrize("name", findings.BACKENDS)
def test_reasons_begin_with_a_class(name: str) -> None:
    reasons = {entry.reason for file, entry in ALL if file == name}
    assert reasons
    faulty = [reason for reason in reasons if findings.reason_fault(reason)]
    assert not faulty, f"expected 'class: what is wrong', of {', '.join(findings.CLASSES)}"


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("hang: a long kernel", ""),
        ("hang: a long kernel; also: of volumes", ""),
        ("no bug: a bound that is too narrow", ""),
        ("endless loop: a long kernel", "class"),
        ("a long kernel never returns", "class"),
        ("hang", "class"),
        ("hang: ", "wrong"),
        ("hang: ; also: of volumes", "wrong"),
        ("hang: a long kernel; also: ", "differs"),
    ],
)
def test_a_reason_without_class_or_content_is_told(reason: str, fault: str) -> None:
    assert fault in findings.reason_fault(reason)
    assert bool(fault) == bool(findings.reason_fault(reason))


def test_what_ends_the_process_is_of_a_class_that_does() -> None:
    """A crash is not a wrong value; overwritten memory may end the process, but need not."""
    allowed = {"crashed": {"crash", "memory"}, "hung": {"hang", "crash"}}
    for file, entry in ALL:
        if entry.ends_process:
            kind, title, _ = findings.split_reason(entry.reason)
            assert kind in allowed[entry.status], f"{file}: {title}"


def test_entries_of_one_bug_are_one_finding() -> None:
    bugs = findings.bugs()
    assert len({bug.key for bug in bugs}) == len(bugs)
    assert sum(len(bug.entries) for bug in bugs) == len(ALL)
    assert max(len(bug.entries) for bug in bugs) > 10


def test_what_was_seen_is_of_a_finding_and_of_its_pinned_call() -> None:
    bugs_by_key, stale = (
        {bug.key: bug for bug in findings.bugs()},
        "python tools/findings_seen.py NAME",
    )
    for key, places in findings.read_outcomes().items():
        assert key in bugs_by_key, stale
        calls = {findings.call_text(case) for _, _, case in findings.pinned_cases(bugs_by_key[key])}
        assert places["call"] in calls, f"{key}: {stale}"


def test_the_page_is_current() -> None:
    page_text = findings_table.page()
    how_to_update = "python tools/findings_table.py writes it"
    assert findings_table.PAGE.read_text(encoding="utf-8") == page_text, how_to_update


def test_the_gravest_are_findings_of_every_backend() -> None:
    by_key = {bug.key: bug for bug in findings.bugs() if bug.kind != findings.NO_BUG}
    gravest = measured.read(findings_table.GRAVEST)
    assert set(gravest) <= set(by_key), f"{findings_table.GRAVEST} has a key of no finding"
    assert {by_key[key].owner for key in gravest} == set(findings.BACKENDS)
    assert 20 <= len(gravest) <= 40
    page = findings_table.page()
    assert page.count("\n- **") == len(gravest)
    assert all(f"\n### {name}\n" in page for name in findings.BACKENDS)


def test_the_command_prints_all(capsys: pytest.CaptureFixture[str]) -> None:
    findings_table.main(["--all"])
    assert capsys.readouterr().out == findings_table.full_page(findings.read_outcomes())


def test_the_table_counts_what_the_sections_list() -> None:
    text = findings_table.full_page(findings.read_outcomes())
    total = int(re.findall(r"\*\*(\d+)\*\* \|$", text, re.MULTILINE)[-1])
    listed, _, not_bugs = text.partition("\n## Listed, and no bug\n")
    assert listed.count("\n- **") == total
    assert not_bugs.count("\n- ") == sum(b.kind == findings.NO_BUG for b in findings.bugs())
