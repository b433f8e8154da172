"""Versioned standards: the options that they set for a run, and what the run may claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conformance.reports import summary
from conformance.reports.badge import badge
from conformance.reports.html import render
from conformance.reports.markdown import markdown
from conformance.reports.results import read
from support import install_backends_module, run_refused_session, run_session
from test_report import identity, run_of, verdict

from conformance.layers import CATALOGUE, DTYPES
from conformance.model.case import Examples
from conformance.model.checks import checks_of_level
from conformance.model.standard import StandardError, find_standard, standards

NAME = "torch.nn 2.13"


def _judge_against(level: str, *verdicts: Any) -> Any:
    run = run_of(*verdicts)
    return replace(run, identity=replace(run.identity, standard=f"{NAME}, {level}"))


def test_a_standard_names_layers_and_checks_that_there_are() -> None:
    assert list(standards()) == [NAME, "torch.nn 2.13.1"]
    for standard in standards().values():
        assert set(standard.layers) <= set(CATALOGUE)
        assert standard.dtypes == DTYPES
        # Each level includes the checks of the level before it.
        inference, training, strict = (set(checks) for checks in standard.levels.values())
        assert inference < training < strict
        # A released standard never changes: a later check names a level, but is not part of it.
        for name, required_checks in standard.levels.items():
            assert required_checks == tuple(
                check for check in checks_of_level(name) if check in required_checks
            )


def test_the_newest_standard_has_the_checks_of_this_version() -> None:
    *_, newest = standards().values()
    for name, required_checks in newest.levels.items():
        assert required_checks == checks_of_level(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("torch.nn 1.0", "expected one of 'torch.nn 2.13', 'torch"),
        ("torch.nn 2.13, best", "no level 'best' of 'torch.nn 2.13': expected one of inference"),
        ("torch.nn 2.13,", "no level ''"),
    ],
)
def test_other_texts_are_refused(text: str, said: str) -> None:
    with pytest.raises(StandardError, match=said):
        find_standard(text)


def test_without_a_level_it_is_the_strictest() -> None:
    assert find_standard(" torch.nn  2.13 ")[1] == "strict"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--conformance-standard=torch 2"], "--conformance-standard=torch 2: expected one of"),
        (["--conformance-standard=torch.nn 2.13", "--conformance-seed=1"], "seed=1: the standard"),
        (["--conformance-standard=torch.nn 2.13", "--conformance-layer=ReLU"], "decides that"),
    ],
)
def test_what_a_standard_decides_nobody_else_does(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    install_backends_module(pytester, monkeypatch, "")
    assert said in run_refused_session(pytester, *options)


BACKEND = """
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

class Few(ModuleBackend):
    def offers(self, layer, dtype, device):
        return layer == "ReLU" and dtype == "float64"

backend = Few("few", nn=SimpleNamespace(ReLU=torch.nn.ReLU))
"""


def test_a_run_is_recorded_with_its_standard_and_claims_what_it_showed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(pytester, monkeypatch, BACKEND)
    result = run_session(
        pytester, "--conformance-backend=plugged:backend", "--conformance-isolation=none",
        f"--conformance-standard={NAME}, inference", "--conformance-dtype=float64",
        "--conformance-results=r.jsonl",
    )  # fmt: skip
    run = read(pytester.path / "r.jsonl")
    assert run.identity.standard == f"{NAME}, inference"
    assert run.identity.seed == 0
    assert run.identity.examples == 200
    assert {v.check for v in run.verdicts} == {"shape", "values", "special", "errors"}
    assert "layer" not in run.identity.options
    # No call of the one layer is invalid: nothing was shown of refusals.
    claim = f"Conforms to {NAME}, inference, in 1 of 298 layers, in float64, without errors."
    assert claim in " ".join(result.stdout.str().split())
    assert claim in markdown(run)
    assert claim in render(run)


def test_of_items_that_pytest_chooses_nothing_is_claimed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(pytester, monkeypatch, BACKEND)
    run_session(
        pytester, "--conformance-backend=plugged:backend", "--conformance-isolation=none",
        f"--conformance-standard={NAME}, inference", "-k", "values and ReLU-",
        "--conformance-results=r.jsonl",
    )  # fmt: skip
    run = read(pytester.path / "r.jsonl")
    assert summary.outcome(run).name == summary.CONFORMANT
    assert run.identity.standard == summary.outcome(run).claim == ""


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({"layers": ("Linear", "ReLU")}, "in 1 of 2 layers"),
        ({"dtypes": ("float32", "float64")}, "in float32"),
        ({"levels": {"inference": ("values", "gradients")}}, "without gradients"),
    ],
)
def test_what_a_run_lacks_of_its_standard_is_told(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], limit: str
) -> None:
    run = _small_run(monkeypatch, **change)
    assert summary.outcome(run).claim == f"Conforms to {NAME}, inference, {limit}."


def test_cases_that_are_not_those_of_the_standard_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = _small_run(monkeypatch)
    other_run = replace(run, identity=replace(run.identity, drawn="by public means"))
    assert summary.outcome(other_run).claim.endswith("inference, on other cases.")
    (verdict_,) = run.verdicts
    stopped_run = replace(run, verdicts=(replace(verdict_, examples=Examples(5, 5, stopped=195)),))
    assert summary.outcome(stopped_run).claim.endswith("inference, in a part of the cases.")


def _small_run(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    """A run of the only item of a small standard, whose fields `changes` replaces."""
    fields = {"layers": ("Linear",), "dtypes": ("float32",), "levels": {"inference": ("values",)}}
    standard = replace(standards()[NAME], **{**fields, **changes})
    monkeypatch.setattr(
        "conformance.reports.claim.find_standard", lambda text: (standard, "inference")
    )
    return _judge_against("inference", verdict("Linear", "values", "float32", "passed"))


def test_no_limit_is_told_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _small_run(monkeypatch)
    assert summary.outcome(run).claim == f"Conforms to {NAME}, inference."
    assert f"conforms to {NAME}, inference<" in badge(run)
    shard_run = replace(run, identity=replace(run.identity, shard="1/2"))
    assert summary.outcome(shard_run).claim == f"Conforms to {NAME}, inference, in shard 1/2."
    assert "in part" in badge(shard_run)


def test_of_joined_shards_none_may_be_missing() -> None:
    run = _judge_against("strict", verdict("Linear", "values", "float32", "passed"))
    partial_run = replace(run, identity=replace(run.identity, shard="1,3/4"))
    outcome = summary.outcome(partial_run)
    assert outcome.name == summary.INCOMPLETE
    assert "Shards 2/4, 4/4 missing." in outcome.sentence
    assert outcome.claim.startswith("Does not show")
    assert "incomplete" in badge(partial_run)


def test_what_fails_or_is_cut_short_shows_nothing() -> None:
    failing_run = _judge_against("strict", verdict("Linear", "values", "float32", "failed"))
    cut_short = replace(
        _judge_against("strict", verdict("Linear", "values", "float32", "passed")), footer=None
    )
    for run in (failing_run, cut_short):
        assert summary.outcome(run).claim == f"Does not show that it conforms to {NAME}, strict."
    assert summary.outcome(run_of(verdict("Linear", "values", "float32", "passed"))).claim == ""
    assert identity().standard == ""
