"""A survey exits with 0 for any answers, a gate does not; both report new divergences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conformance.reports import summary
from conformance.reports.badge import badge
from conformance.reports.html import render
from conformance.reports.markdown import markdown
from conformance.reports.results import read
from support import install_backends_module, run_session, seen_here

from conformance.model.case import Examples
from conformance.model.finding import Finding

BACKENDS = """
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

class Doubled(torch.nn.Identity):
    def forward(self, input):
        return 2 * super().forward(input)

class Losing(torch.nn.Identity):
    def forward(self, input):
        import os
        if os.path.exists("r.jsonl"):
            os.unlink("r.jsonl")
        return super().forward(input)

class Spent(torch.nn.Identity):
    def forward(self, input):
        from conformance.model.case import Unsupported
        raise Unsupported("nothing")

class Slow(torch.nn.Identity):
    def forward(self, input):
        import time
        time.sleep(0.5)
        return super().forward(input)

faithful = ModuleBackend("faithful", nn=SimpleNamespace(Identity=torch.nn.Identity))
wrong = ModuleBackend("wrong", nn=SimpleNamespace(Identity=Doubled))
losing = ModuleBackend("losing", nn=SimpleNamespace(Identity=Losing))
slow = ModuleBackend("slow", nn=SimpleNamespace(Identity=Slow))
declining = ModuleBackend("declining", nn=SimpleNamespace(Identity=Spent))
"""
ENTRY = """[[known]]
layer = "Identity"
check = "values"
reason = "wrong value: the input is doubled"
"""
CASE = (
    '{"call": {"layer": "Identity", "arguments": {}, "state": {}, "dtype": "float32", "device": '
    '"cpu", "training": false, "layouts": {}}, "inputs": {"input": {"shape": [1], "dtype": '
    '"float64", "data": [1.0]}}, "keywords": {}, "layouts": {}, "labels": {}, "seed": 0}'
)


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    install_backends_module(pytester, monkeypatch, BACKENDS)

    def run(backend: str, *options: str) -> pytest.RunResult:
        return run_session(
            pytester, "--conformance-isolation=none", "--conformance-examples=5",
            "--conformance-layer=Identity", "--conformance-check=values",
            "--conformance-dtype=float32", f"--conformance-backend=plugged:{backend}",
            "--conformance-results=r.jsonl", *options,
        )  # fmt: skip

    return run


def test_a_new_divergence_ends_a_gate_with_1_and_a_survey_with_0(
    suite: Any, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = suite("wrong")
    assert gate.ret == 1
    gate.stdout.fnmatch_lines(["*conformance: backend wrong (*", "*Identity: wrong values*"])
    survey = suite("wrong", "--conformance-survey")
    assert survey.ret == 0
    survey.stdout.fnmatch_lines(["*conformance: survey of backend wrong (*", "*Identity: wrong*"])
    *_, last, listing, report = [line for line in survey.outlines if line.strip()]
    assert last == "survey: 1 new divergence, in Identity"
    assert listing.endswith("nn-conformance known r.jsonl --write known.toml")
    assert report.endswith("nn-conformance bug-report r.jsonl Identity-values-float32-cpu")
    assert "failed" not in survey.outlines[-5]
    monkeypatch.setenv("CONFORMANCE_SURVEY", "yes")
    assert suite("wrong").ret == 0
    monkeypatch.setenv("CONFORMANCE_SURVEY", "no")
    assert suite("wrong").ret == 1
    monkeypatch.setenv("CONFORMANCE_SURVEY", "perhaps")
    assert suite("wrong").ret == 4


def test_a_survey_that_compares_nothing_ends_with_1(suite: Any, pytester: pytest.Pytester) -> None:
    result = suite("declining", "--conformance-survey")
    assert result.ret == 1
    assert summary.outcome(read(pytester.path / "r.jsonl")).name == summary.WENT_WRONG


def test_a_survey_whose_backend_never_answers_went_wrong(
    suite: Any, pytester: pytest.Pytester
) -> None:
    suite("wrong", "--conformance-survey")
    run = read(pytester.path / "r.jsonl")
    (verdict,) = run.verdicts
    assert summary.is_ok(run)
    lost = Finding("lost", "crashed", says="the backend's process did not start")
    silent = replace(verdict, status="crashed", examples=Examples(), failure=lost)
    assert not summary.is_ok(replace(run, verdicts=(silent,)))


def test_a_slow_machine_leaves_items_out_and_fails_a_gate_only(
    suite: Any, pytester: pytest.Pytester
) -> None:
    options = ("--conformance-budget=0.3", "--conformance-check=shape,values,layout,repeat")
    survey = suite("slow", *options, "--conformance-survey")
    assert survey.ret == 0
    run = read(pytester.path / "r.jsonl")
    statuses = summary.count_statuses(run)
    assert statuses["passed"] >= 1
    assert statuses["unchecked"] >= 1
    assert "the time budget left out" in summary.outcome(run).sentence
    assert "Conforms" not in summary.outcome(run).claim
    gate = suite("slow", *options)
    assert gate.ret == 1
    gate.stdout.fnmatch_lines(["*1 likely cause*", "*left out: the run is behind its time*"])


def test_a_survey_whose_file_is_lost_ends_with_1(suite: Any) -> None:
    result = suite("losing", "--conformance-survey")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["not written: results: *"])


def test_what_a_survey_found_is_told_by_every_page(suite: Any, pytester: pytest.Pytester) -> None:
    suite("wrong", "--conformance-survey")
    run = read(pytester.path / "r.jsonl")
    assert summary.outcome(run).name == summary.SURVEYED
    sentence = "0\u202f% of 2 cases conform; 0 known divergences, 1 new"
    assert sentence in summary.outcome(run).headline
    page = render(run)
    assert sentence in page
    assert "Not conformant" not in page
    assert "New divergences" in page
    assert "not conformant" not in markdown(run)
    assert "of cases conform" in badge(run)


@pytest.mark.parametrize(
    ("seen", "status"), [("", 0), ('seen = ["torch 2.3.0 on cuda"]\n', 0), (None, 1)]
)
def test_an_entry_is_stale_in_a_gate_only_where_it_was_seen(
    suite: Any, pytester: pytest.Pytester, seen: str | None, status: int
) -> None:
    known = pytester.path / "known.toml"
    place = seen_here("faithful") if seen is None else seen
    known.write_text(f"{ENTRY}{place}case = '{CASE}'\n")
    result = suite("faithful", f"--conformance-known={known}")
    assert result.ret == status
    run = read(pytester.path / "r.jsonl")
    reasons = [*summary.divergences(run).not_shown]
    if status:
        result.stdout.fnmatch_lines(["*stale known failure*"])
        assert reasons == []
    else:
        result.stdout.fnmatch_lines(["1 known failure does not show here*"])
        assert reasons == ["wrong value: the input is doubled"]
        assert "Do not occur here" in render(run)
        assert "Known failures that do not show" in markdown(run)


def test_a_stale_entry_is_no_divergence_of_a_survey(suite: Any, pytester: pytest.Pytester) -> None:
    known = pytester.path / "known.toml"
    known.write_text(f"{ENTRY}{seen_here('faithful')}case = '{CASE}'\n")
    result = suite("faithful", f"--conformance-known={known}", "--conformance-survey")
    assert result.ret == 0
    stale, last = result.outlines[-2:]
    assert stale.startswith("survey: a known failure passes where it was seen: Identity-values")
    assert last == "survey: no new divergence"
    assert "0 new" in summary.divergences(read(pytester.path / "r.jsonl")).headline


def test_what_fails_as_listed_elsewhere_is_known_here(
    suite: Any, pytester: pytest.Pytester
) -> None:
    known = pytester.path / "known.toml"
    known.write_text(f"{ENTRY}seen = [\"torch 2.3.0 on cuda\"]\ncase = '{CASE}'\n")
    result = suite("wrong", f"--conformance-known={known}", "--conformance-survey")
    assert result.ret == 0
    assert result.outlines[-1] == "survey: no new divergence"
