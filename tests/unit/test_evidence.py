"""`docs/evidence.md` agrees with the data, and the site's pages have every row of the data."""

from __future__ import annotations

import json
from pathlib import Path

import backends_table
import campaign_table
import evidence
import exhaustive_table
import holes_table
import kill_table
import measured
import peaks_table
import pytest
from conformance.reports.exhaustive import Line

from conformance.model.exhaustive_range import RangeResult
from conformance.model.max_error import Farthest


def test_the_page_is_current() -> None:
    stale = "python tools/evidence.py writes it"
    assert evidence.PAGE.read_text(encoding="utf-8") == evidence.page(), stale


def test_the_pages_of_the_site_have_every_row() -> None:
    pages = evidence.full_pages()
    rows = {
        "backends": len(measured.read(backends_table.DATA_FILE)["runs"]),
        "campaign": len(measured.read(campaign_table.DATA_FILE)["runs"]),
        "exhaustive": len(measured.read(exhaustive_table.DATA_FILE)["functions"]),
        "peaks": len(peaks_table.measured()),
    }
    for name, count in rows.items():
        assert sum(line.startswith("| ") for line in pages[name].splitlines()) == count + 2
    facts = measured.read(holes_table.DATA_FILE)
    lines = [line for line in pages["holes"].splitlines() if line.startswith("| ")]
    assert len(lines) == len(facts["widest"]) + len(facts["unseen"]) + 2 * 2
    for campaign in measured.read(kill_table.DATA_FILE).values():
        assert all(f"\n| {layer} |" in pages["kill-rate"] for layer in campaign["layers"])
        assert all(bug["bug"] in pages["kill-rate"] for bug in campaign["survivors"])


def test_known_failures_of_torch_hide_no_mistake() -> None:
    unseen = measured.read(holes_table.DATA_FILE)["unseen"]
    # pdist without rows: torch ends the process by chance there, which may have been taken for the
    # mistake. Not examined again yet.
    hidden = {layer for layer, _, result, *_ in unseen if result == "hidden"}
    assert hidden <= {"functional.pdist"}
    counts = measured.read(holes_table.DATA_FILE)["counts"].values()
    assert len(unseen) == sum(row.get(name, 0) for row in counts for name in holes_table.UNSEEN)


def test_kills_add_up() -> None:
    for numbers in measured.read(kill_table.DATA_FILE).values():
        survived = sum(len(bug["seeds"]) for bug in numbers["survivors"])
        assert numbers["kills"] + survived == numbers["bugs"] * len(numbers["seeds"])
        counts = [*kill_table.totals(numbers).values()]
        assert sum(bugs for _, bugs in counts) == numbers["bugs"]
        assert sum(bugs - killed for killed, bugs in counts) == len(numbers["survivors"])


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    facts = {"list": [1, {"text": "x" * 400, "none": None}, []], "object": {"é": {"a": 0.5}}}
    file = tmp_path / "new" / "facts.json"
    measured.write(file, "tools/x.py", facts)
    assert measured.read(file) == facts
    assert file.read_text(encoding="utf-8").splitlines()[1] == (
        ' "$comment": "Written by `tools/x.py`.",'
    )
    assert measured.read(tmp_path / "none.json") == {}


def test_a_layer_stays_as_measured_until_results_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, results = tmp_path / "peaks.json", tmp_path / "results.jsonl"
    monkeypatch.setattr(peaks_table, "DATA_FILE", data)
    measured_errors = {"Linear": {"values float32": 0.5}, "GELU": {"values float32": 0.5}}
    measured.write(data, "tools/peaks_table.py", {"layers": measured_errors})
    verdict = {"kind": "verdict", "layer": "GELU", "check": "values", "dtype": "float32"}
    lines = [verdict | {"comparisons": 9, "margin": margin} for margin in (0.9, 0.8)]
    results.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    peaks_table.main([str(results)])
    assert peaks_table.measured() == {
        "Linear": {"values float32": 0.5},
        "GELU": {"values float32": 0.9},
    }


def test_a_wide_bound_without_a_reason_is_an_error() -> None:
    assert peaks_table.reasons("Linear", {"values float32": 0.25, "values float16": 0.0}) == []
    (reason,) = peaks_table.reasons("Linear", {"values float64": 0.1})
    assert "float64" in reason
    with pytest.raises(KeyError, match="Linear values float32: no reason for a bound of 10"):
        peaks_table.reasons("Linear", {"values float32": 0.1})


def test_parts_of_a_function_add_up() -> None:
    def line(part: int, wrong: int) -> Line:
        farthest = Farthest(0.5 + wrong, 3.0, 1.0, 1.0)
        covered = RangeResult(10, 10, wrong, 0.5, 1.0, farthest)
        return Line("mine", "Tanh()", "float32", "forward", part, 4, covered)

    (row,) = exhaustive_table.rows_of([line(1, 0), line(2, 3), line(2, 3)])
    assert row == {
        "backend": "mine",
        "function": "Tanh()",
        "direction": "forward",
        "dtype": "float32",
        "wrong": 3,
        "compared": 20,
        "ulps": 3.5,
        "at": 3.0,
        "ratio": 0.5,
        "parts": "2/4",
    }
    declined = Line("mine", "ELU()", "float32", "forward", 1, 1, None, "not offered")
    assert exhaustive_table.rows_of([declined])[0]["declined"] == "not offered"
