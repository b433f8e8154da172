"""The hostile catalogue reports each deviation from the expected outcome, and nothing else."""

from __future__ import annotations

import json
import sys

import pytest
from hostile.attempt import attempt
from hostile.deviations import find_deviations
from hostile.entry import Entry, Expected
from hostile.run import catalogue, daily_share

VERDICT = {"kind": "verdict", "id": "ReLU-values-float32-cpu", "status": "failed"}


def results(path, *verdicts, items=("ReLU-values-float32-cpu",)):
    """A results file of verdicts."""
    lines = [{"kind": "run", "items": list(items)}, *(VERDICT | x for x in verdicts)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_as_many_days_as_shares_try_each_entry_once():
    entries = list(range(20))
    for first in (0, 739947):
        shares = [daily_share(entries, 6, first + day) for day in range(6)]
        assert sorted(entry for part in shares for entry in part) == entries
        assert {len(part) for part in shares} == {3, 4}
    assert daily_share(entries, 1, 5) == entries


@pytest.mark.parametrize(
    ("due", "code", "output", "told"),
    [
        (Expected(4, ("name",)), 4, "name: expected", ()),
        (Expected((0, 4)), 1, "", ("exit status 1, expected 0 or 4",)),
        (Expected(4, ("name",)), 4, "nothing", ("output lacks 'name'",)),
        (Expected(4), 4, "INTERNALERROR> x", ("output has 'INTERNALERROR'",)),
        (Expected(4, never="secret"), 4, "a secret", ("output has 'secret'",)),
        (Expected(4), 4, "red \x1b[31m", ("output has an unprintable '\\x1b'",)),
        (Expected(4), 4, "turned \u202e", ("output has an unprintable '\\u202e'",)),
        (Expected(4, longest=10), 4, "x" * 11, ("output of 11 characters, expected at most 10",)),
        (Expected(1, others="failed"), 1, "", ("no results",)),
    ],
)
def test_outputs_are_held_against_what_is_due(tmp_path, due, code, output, told):
    assert tuple(find_deviations(due, code, output, tmp_path / "r.jsonl")) == told


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        ([{"message": "get returned None"}], ()),
        ([{"message": "call raised"}], ("no verdict of", "is failed, expected passed")),
        ([{"message": "get returned None"}] * 2, ("verdicts of",)),
        ([], ("verdicts of", "no verdict of")),
    ],
)
def test_verdicts_are_held_against_what_is_due(tmp_path, verdicts, told):
    due = Expected(1, verdicts={"ReLU-values-*": "failed: get returned"}, others="passed")
    path = results(tmp_path / "r.jsonl", *verdicts)
    deviation_texts = list(find_deviations(due, 1, "", path))
    assert len(deviation_texts) == len(told)
    assert all(part in text for part, text in zip(told, deviation_texts, strict=True))


PROGRAMS = {
    "print('fine')": (),
    "import time; time.sleep(60)": ("took more than 2 s",),
    "import os, tempfile; tempfile.mkdtemp(prefix='mine')": ("left behind: mine",),
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; "
    "time.sleep(60)'], start_new_session=True)": ("1 processes still run",),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=["fine", "slow", "litter", "orphan"])
def test_nothing_of_an_entry_goes_on(program):
    entry = Entry("x", 0, {"x.py": program}, ("x.py",), Expected(0), seconds=2)
    outcome = attempt("theme", entry, sys.executable)
    assert len(outcome.deviations) == len(PROGRAMS[program])
    for text, start in zip(outcome.deviations, PROGRAMS[program], strict=True):
        assert text.startswith(start)


def test_the_catalogue_has_as_many_as_promised():
    themes = catalogue()
    assert sum(len(v) for k, v in themes.items() if k.startswith("backends_")) >= 150
