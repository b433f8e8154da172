"""A new check needs a module and one declaration; no other file lists checks."""

from __future__ import annotations

import importlib

import pytest
from conformance.reports import bug_report, summary
from conformance.reports.headline import issue_title
from conformance.reports.html import render
from conformance.reports.markdown import markdown
from conformance.reports.results import read
from support import install_backends_module, run_session

from conformance.backends.adapters.torch import backend
from conformance.checks import CHECKS, EVERY_CHECK, Check
from conformance.commands.explanation import explain
from conformance.items.planning import Item, plan_items
from conformance.layers import CATALOGUE
from conformance.model import checks

BACKEND = """
from types import SimpleNamespace
import torch
from conformance.backends import ModuleBackend

class Doubled(torch.nn.Identity):
    def forward(self, input):
        return 2 * super().forward(input)

wrong = ModuleBackend("wrong", nn=SimpleNamespace(Identity=Doubled))
"""
MODULE = '''
"""`bounded`: no output is larger than every input."""

import numpy as np

from conformance.model.checks import STRICT, CheckFacts, Sampling
from conformance.model.failure import Failure
from conformance.model.finding import fact_mismatch
from conformance.checks.trial import Evidence

FACTS = CheckFacts(
    "bounded",
    title="an output is larger than every input",
    question="No output is larger than every input.",
    looks_at="outputs are no larger than inputs",
    rank=12,
    levels=STRICT,
    sampling=Sampling(step_other_dtypes=5, sample_size=3, sampled_extra_dtypes=1),
    high_priority=True,
    follows_values=True,
    title_suffix="where inputs are bounded",
)


def check(trial):
    largest = max((np.abs(x).max(initial=0) for x in trial.case.operands), default=0)
    for name, native in zip(trial.names, trial.outputs, strict=True):
        got = np.abs(trial.get(native)).max(initial=0)
        if got > largest:
            raise Failure(fact_mismatch("value", name, float(got), float(largest)))
    return Evidence(1)
'''


@pytest.fixture
def added(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Check:
    """A check of a module that no other file knows."""
    install_backends_module(pytester, monkeypatch, BACKEND)
    pytester.makepyfile(bounded=MODULE)
    module = importlib.import_module("bounded")
    check = Check(module.FACTS, module.check, applies=lambda row: row.name == "Identity")
    monkeypatch.setitem(checks.CHECK_FACTS, "bounded", module.FACTS)
    monkeypatch.setitem(EVERY_CHECK, "bounded", check)
    monkeypatch.setitem(CHECKS, "bounded", check)
    return check


def test_a_new_check_is_planned_as_it_is_declared(added: Check) -> None:
    items = plan_items(
        backend, layers=["Identity", "ReLU"], checks=[*CHECKS], dtypes=["float64"],
        devices=["cpu"], every_dtype=False,
    )  # fmt: skip
    (item,) = (item for item in items if item.check == "bounded")
    assert item == Item("Identity", "bounded", "float64", "cpu")
    assert item.step(200) == 5
    assert checks.matrix_columns()[-1] == checks.checks_of_level("strict")[-1] == "bounded"
    assert "bounded" not in checks.checks_of_level("training")
    assert added.applies(CATALOGUE["Identity"])


def test_a_new_check_is_in_all_that_a_run_says(added: Check, pytester: pytest.Pytester) -> None:
    result = run_session(
        pytester, "--conformance-isolation=none", "--conformance-examples=5", "-v",
        "--conformance-layer=Identity", "--conformance-check=bounded,values",
        "--conformance-dtype=float32", "--conformance-backend=plugged:wrong",
        "--conformance-results=r.jsonl", "--conformance-report=r.html",
    )  # fmt: skip
    assert result.ret == 1
    result.stdout.fnmatch_lines(["layer*values*bounded*", "*Identity: wrong values (2 items)*"])
    run = read(pytester.path / "r.jsonl")
    values, failed = sorted(run.verdicts, key=lambda verdict: verdict.check == "bounded")
    assert failed.status == "failed"
    assert summary.matrix(run).checks == ("values", "bounded")
    # It is declared to follow wrong values: both have one cause.
    (cause,) = summary.clusters([failed, values])
    assert cause.checks == ("values", "bounded")
    assert "wrong values where inputs are bounded" in issue_title(failed, failed.failure)
    assert added.facts.question in bug_report.render(run, explain(run, failed.id, 1))
    for text in (markdown(run), render(run), (pytester.path / "r.html").read_text("utf-8")):
        assert "bounded" in text


def test_a_check_of_another_version_is_told_by_its_name() -> None:
    facts = checks.facts_of("other")
    assert (facts.title, facts.question) == ("other fails", "")
    assert checks.in_column_order(["other", "errors", "support", "shape", "other"]) == (
        *("shape", "errors", "other", "support"),
    )
