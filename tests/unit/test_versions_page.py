"""The page of findings by release holds what ran, and says when a finding came and went."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import versions_seen
import versions_table

from conformance.known.entry import KnownFailure

VERSIONS = ["2.3.1", "2.4.1", "2.5.1", "2.10.0"]


@pytest.mark.parametrize(
    ("outcomes", "history"),
    [
        (("fails", "fails", "fails", "fails"), ("", "")),
        (("passes", "passes", "fails", "fails"), ("2.5.1", "")),
        (("fails", "passes", "passes", "passes"), ("", "2.4.1")),
        (("passes", "fails", "fails otherwise", "passes"), ("2.4.1", "2.10.0")),
        (("passes", "fails", "passes", "fails"), ("2.4.1, 2.10.0", "2.5.1")),
        (("does not apply", "fails", "fails", "fails"), ("", "")),
    ],
)
def test_a_history_says_when_a_finding_came_and_went(
    outcomes: tuple[str, ...], history: tuple[str, str]
) -> None:
    cells = dict(zip(VERSIONS, outcomes, strict=True))
    assert versions_table.history(cells, VERSIONS) == history


def test_the_most_telling_entry_stands_for_a_finding() -> None:
    reasons = ("wrong value: a", "wrong value: a; also: b", "no bug: c", "crash: d")
    entries = [KnownFailure("ReLU", "values", reason) for reason in reasons]
    outcomes = ("passes", "fails", "fails", "not tried")
    lines = [{"id": str(k), "outcome": x} for k, x in enumerate(outcomes, 1)]
    seen = versions_seen.outcomes_of_findings(entries, lines)
    assert seen == {"wrong value: a": "fails", "crash: d": "not tried"}


def test_the_page_is_of_the_data() -> None:
    assert versions_table.PAGE.read_text(encoding="utf-8") == versions_table.page()
