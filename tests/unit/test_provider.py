"""Hypothesis has the private interface that the suite uses; a run without it says so."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from conformance.reports.compare import compare
from conformance.reports.provenance import provenance
from conformance.reports.results import ResultsError, read
from hypothesis import configuration, strategies
from hypothesis.internal.conjecture import providers
from test_report import run_of, verdict

from conformance.generation import drawing, provider

HIDE_PROVIDERS = """
import types

import hypothesis
import hypothesis.internal.conjecture as package
from hypothesis.internal.conjecture import providers

# As if a later Hypothesis had it elsewhere. Its own modules have imported what they need by now.
package.providers = types.ModuleType(providers.__name__)
"""


def test_hypothesis_still_has_what_the_suite_takes_of_it() -> None:
    hypothesis_provider = providers.HypothesisProvider
    assert {"choice_type", "constraints", "p"} <= {
        *inspect.signature(hypothesis_provider._maybe_draw_constant).parameters
    }
    assert isinstance(providers.AVAILABLE_PROVIDERS, dict)
    assert provider._HOME_DIRECTORY in vars(configuration)
    assert [*inspect.signature(configuration.set_hypothesis_home_dir).parameters] == ["directory"]
    assert provider.drawing_provider() == provider.PROVIDER_NAME
    assert provider.describe_other_drawing() == ""


@pytest.mark.parametrize("drawn", [strategies.integers(), strategies.floats(), strategies.text()])
def test_hypothesis_asks_for_constants_where_the_suite_declines_them(
    drawn: strategies.SearchStrategy[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    choice_types = []

    def spy(self: object, choice_type: str, *others: object, **keywords: object) -> None:
        choice_types.append(choice_type)

    monkeypatch.setattr(provider.Provider, "_maybe_draw_constant", spy)

    @hypothesis.settings(backend=provider.PROVIDER_NAME, max_examples=20, database=None)
    @hypothesis.given(drawn)
    def draw(x: object) -> None:
        pass

    draw()
    assert choice_types, (
        "Hypothesis reads constants of local modules elsewhere: cases depend on the current folder"
    )


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The suite draws as if its own provider were unavailable."""
    caches = (drawing._draw_all, drawing._covering_cases, drawing.draw_cases)
    monkeypatch.setattr(drawing, "drawing_provider", lambda: provider.PUBLIC_PROVIDER)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("invalid", [False, True])
def test_public_means_draw_as_many_cases(public: None, invalid: bool) -> None:
    assert len(drawing.draw_cases("Linear", "float32", 40, 0, invalid=invalid)) == 40


def test_a_provider_that_draws_nothing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(providers.AVAILABLE_PROVIDERS, provider.PROVIDER_NAME, "no.such.Provider")
    assert not provider._provider_works()


def test_a_run_without_the_private_interface_passes_and_warns(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE_PROVIDERS)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs"),
            *("conformance.suite", "--conformance-layer=ReLU", "--conformance-dtype=float32"),
            *("--conformance-examples=8", "--conformance-results=results.jsonl"),
            "--conformance-summary=summary.md",
        ],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    output = " ".join(run.stdout.split())
    assert f"this Hypothesis, {hypothesis.__version__}, lacks what the suite draws with" in output
    with (tmp_path / "results.jsonl").open() as lines:
        assert json.loads(next(lines))["drawn"] == provider.DRAWN_PUBLICLY
    assert read(tmp_path / "results.jsonl").footer is not None
    assert "Drawn by the public interface of Hypothesis only" in (
        tmp_path / "summary.md"
    ).read_text(encoding="utf-8")
    assert not (tmp_path / ".hypothesis").exists()


def test_runs_of_other_cases_are_unlike_and_a_report_says_so() -> None:
    run = run_of(verdict("Conv2d", "shape", "float32", "passed"))
    other_draws = replace(run, identity=replace(run.identity, drawn=provider.DRAWN_PUBLICLY))
    with pytest.raises(ResultsError, match="unlike runs: drawn: as usual and by the public"):
        compare(run, other_draws)
    assert compare(run, other_draws, force=True).same == 1
    selection = dict(dict(provenance(other_draws))["Selection"])
    assert selection["cases drawn"] == provider.DRAWN_PUBLICLY
    assert "cases drawn" not in dict(dict(provenance(run))["Selection"])


def test_a_run_opens_without_a_warning_of_hypothesis(tmp_path: Path) -> None:
    """The suite tries its provider while pytest starts, of which Hypothesis warns otherwise."""
    server = Path(__file__).parents[1] / "wire" / "reference.py"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"),
            *("--pyargs", "conformance.suite", "--conformance-layer=Linear"),
            f"--conformance-backend=wire:{shlex.join([sys.executable, str(server)])}",
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Linear-values-float32-cpu" in run.stdout
    assert "Warning" not in run.stdout + run.stderr
