"""Shared by test modules: backends that spoil torch's answers, and running checks on them."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from xdist import workermanage

from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import devices_of, info_of, numerics_of
from conformance.checks import EVERY_CHECK, laws
from conformance.checks.answers import OracleAnswers
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.isolation import probe_process
from conformance.isolation.probe import probe_backend
from conformance.items.planning import Item
from conformance.known.cpu import describe_place
from conformance.known.entry import shipped_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Unsupported, Verdict
from conformance.model.failure import Failure, Inapplicable
from conformance.run.engine import Engine

LAYERS = tuple(CATALOGUE)
NOT_IN_TORCH = tuple(name for name, row in CATALOGUE.items() if not row.in_torch)
ENOUGH = None if os.environ.get("NN_CONFORMANCE_TESTS") == "all" else 24
"""Number of compared cases after which a check or law counts as passed; None = all cases."""
ANSWERS = OracleAnswers()
"""The oracle's answers to the cases that tests share."""


def cases(
    layer: str,
    dtype: str = "float32",
    examples: int = 200,
    seed: int = 0,
    *,
    invalid: bool = False,
    tiled: bool = False,
) -> tuple[Case, ...]:
    """The suite's own cases, cached between tests; `tiled` adds those with block sizes.

    With block sizes, the elements of arrays have changed places, so regimes do not hold there.
    """
    drawn = _cached_cases(layer, dtype, examples, seed, invalid)
    return drawn if tiled else tuple(case for case in drawn if "tile" not in case.labels)


@lru_cache(maxsize=256)
def _cached_cases(
    layer: str, dtype: str, examples: int, seed: int, invalid: bool
) -> tuple[Case, ...]:
    return tuple(draw_cases(layer, dtype, examples, seed, invalid=invalid))


def seen_here(backend: str = "torch") -> str:
    """The line of a known failure which says that it was seen on this machine.

    `backend` is a name: torch's, or that of a backend that wraps torch.
    """
    return f"seen = [{json.dumps(describe_place(backend, info_of(torch_backend), 'cpu'))}]\n"


# Layers that torch's CPU backend has only in these dtypes.
OFFERED = dict.fromkeys(
    (
        *("CTCLoss", "functional.ctc_loss"),
        "init.orthogonal_",
        *("AvgPool3d", "functional.avg_pool3d"),
        *("MultiMarginLoss", "functional.multi_margin_loss"),
        *("MultiLabelMarginLoss", "functional.multilabel_margin_loss"),
    ),
    ("float32", "float64"),
)


def require_in_torch(layer: str) -> None:
    """Skip a test that compares with torch where torch does not have the layer."""
    if not CATALOGUE[layer].in_torch:
        pytest.skip(f"torch has no {layer}")


def offered_dtypes(layer: str, *dtypes: str) -> tuple[str, ...]:
    """Those of the given dtypes in which torch has a layer."""
    return tuple(dtype for dtype in dtypes if dtype in OFFERED.get(layer, dtypes))


@dataclass(frozen=True)
class Search:
    """The result of running a check on cases until one fails.

    Args:
        compared: number of passing cases in which something was compared.
        comparisons: numbers or facts compared in them.
        empty: number of passing cases with nothing to compare, e.g. without elements.
        declined: number of cases that the backend declined.
        not_applicable: number of cases that the check does not apply to.
        known: number of cases that failed as torch's known failures say, or that were not run
            because they would end the process.
        failure: the first failure, without shrinking; None if no case fails.
        index: index of the failing case.
    """

    compared: int = 0
    comparisons: int = 0
    empty: int = 0
    declined: int = 0
    not_applicable: int = 0
    known: int = 0
    failure: Failure | None = None
    index: int | None = None

    @property
    def passed(self) -> bool:
        """No case fails, and at least half of the cases that the check applies to were compared.

        So a backend that declines cases, or answers without numbers, does not pass.
        """
        return self.failure is None and self.compared > self.empty + self.declined

    @property
    def message(self) -> str:
        """The failure's message; empty without a failure."""
        return "" if self.failure is None else str(self.failure)


def law_findings(
    backend: Any,
    layer: str,
    name: str,
    examples: int = 200,
    *,
    unlisted_only: bool = False,
    all_cases: bool = False,
) -> tuple[int, list[str]]:
    """The number of compared cases in which a law of a layer holds, and the findings in others.

    It stops at the first finding, or after `ENOUGH` compared cases.

    Args:
        backend: the backend under test.
        layer: a name of the catalogue.
        name: the name of the law.
        examples: number of cases to draw, in float32.
        unlisted_only: skip findings that a known failure of torch explains.
        all_cases: run all cases.
    """
    if backend is torch_backend:
        require_in_torch(layer)
    spec, excuses = CATALOGUE[layer], excuses_of(layer, "laws", "float32")
    position, law = next((k, x) for k, x in enumerate(spec.laws) if x.name == name)
    holding, findings = 0, list[str]()
    for case in cases(layer, "float32", examples):
        if not all_cases and (findings or holding == ENOUGH):
            break
        try:
            trial = Trial(backend, spec, case, answers=ANSWERS)
            holding += laws.check_law(trial, law, position).comparisons > 0
        except Inapplicable:
            continue
        except Failure as failure:
            entry = excuses.find_explanation(case, str(failure), failure.finding)
            if entry is None or not unlisted_only:
                findings.append(str(failure))
    return holding, findings


def first_failure(
    backend: Any,
    layer: str,
    check: str,
    dtype: str = "float32",
    examples: int = 200,
    seed: int = 0,
    *,
    tiled: bool = True,
    enough: int | None = None,
) -> Search:
    """Run a check on the cases of an item until one fails, or enough were compared.

    A caller reads `passed` or `failure`: no failure may also mean that nothing was compared.
    """
    if backend is torch_backend:
        require_in_torch(layer)
    engine = Engine(backend, examples, seed)
    engine.answers = ANSWERS
    item = Item(layer, check, dtype, "cpu")
    numerics = numerics_of(backend, dtype)
    counts: Counter[str] = Counter()
    invalid = EVERY_CHECK[check].invalid
    excuses = excuses_of(layer, check, dtype)
    for index, case in enumerate(cases(layer, dtype, examples, seed, invalid=invalid, tiled=tiled)):
        if counts["compared"] == enough:
            break
        if excuses.find_process_ending(case) is not None:
            counts["known"] += 1
            continue
        try:
            comparisons = engine.try_case(item, case, numerics).comparisons
        except Unsupported:
            counts["declined"] += 1
        except Inapplicable:
            counts["not_applicable"] += 1
        except Failure as failure:
            if excuses.find_explanation(case, str(failure), failure.finding) is None:
                return Search(**counts, failure=failure, index=index)
            counts["known"] += 1
        else:
            counts["compared" if comparisons else "empty"] += 1
            counts["comparisons"] += comparisons
    return Search(**counts)


def verdict(
    backend: Any, layer: str, check: str = "values", dtype: str = "float32", examples: int = 40
) -> Verdict:
    """The verdict on an item of a shipped backend, with its known failures, on its first device."""
    item = Item(layer, check, dtype, devices_of(backend)[0])
    return Engine(backend, examples, 0, shipped_entries(backend.name)).run(item)


def status(
    backend: Any, layer: str, check: str = "values", dtype: str = "float32", examples: int = 40
) -> str:
    """The status of that verdict."""
    return verdict(backend, layer, check, dtype, examples).status


def assert_declined(
    backend: Any, layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    """Assert that a call without a state, on ones, is declined when it is built or run."""

    def call() -> None:
        built = backend.build(Call(layer, arguments, {}, "float32", "cpu"))
        built(built.put(np.ones(shape)))

    with pytest.raises(Unsupported, match=reason):
        call()


@lru_cache
def known_failures(layer: str, check: str, dtype: str) -> tuple[Any, ...]:
    """torch's own known failures of an item."""
    item = {"layer": layer, "check": check, "dtype": dtype, "device": "cpu"}
    return tuple(
        entry for entry in shipped_entries("torch") if entry.applies(**item, backend="torch")
    )


def excuses_of(layer: str, check: str, dtype: str) -> Excuses:
    """Excuses of an item by torch's own known failures."""
    return Excuses(known_failures(layer, check, dtype), EVERY_CHECK[check])


# Variables that change what a session does, or what it prints.
_SESSION_SETTINGS = (
    "CONFORMANCE_",
    "PYTEST_",
    "GITHUB_ACTIONS",
    "FORCE_COLOR",
    "NO_COLOR",
    "PY_COLORS",
)


def install_backends_module(pytester: Any, monkeypatch: Any, backends: str) -> None:
    """Make a module `plugged` for sessions of pytest, and unset the options of this session."""
    for name in [name for name in os.environ if name.startswith(_SESSION_SETTINGS)]:
        monkeypatch.delenv(name)
    pytester.makepyfile(plugged=backends)
    # Such a session must import conformance from the same folder as this one.
    paths = [
        str(pytester.path),
        str(Path(__file__).parent),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(pytester.path)


def run_session(pytester: Any, *options: str) -> Any:
    """Run a session of the suite in as few processes as possible, and return its result.

    This process has torch already: pytest runs in it, and probes the backend in it. A session with
    xdist runs in a pytest of its own, which probes the backend in another process.
    """
    suite = ("--pyargs", "conformance.suite", "-p", "no:cacheprovider")
    if any(option in options for option in ("-n1", "-n2")):
        return run_forked_session(pytester, *suite, "-pwarm", *options)
    kept_modules = _KeptModules()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            probe_process, "probe_in_process", lambda asked, seconds: probe_backend(asked)
        )
        result = pytester.runpytest_inprocess(*suite, *options, plugins=[kept_modules])
    sys.modules.update(kept_modules.modules)
    return result


def run_forked_session(pytester: Any, *arguments: str) -> pytest.RunResult:
    """Run a session of pytest in a fork of this process, which has torch already."""
    if not forked.FORKS:
        return pytester.runpytest_subprocess(*arguments)

    def run() -> tuple[Any, ...]:
        # Workers get the path that their session's process began with.
        workermanage._sys_path = list(sys.path)
        result = pytester.runpytest_inprocess(*arguments)
        return result.ret, result.outlines, result.errlines, result.duration

    try:
        return pytest.RunResult(*forked.call_in_fork(run))
    except forked.EndedError as ended:
        return pytest.RunResult(ended.args[0], [], [], 0.0)


class _KeptModules:
    """Keeps modules of packages that were loaded before, e.g. torch, which pytester would drop.

    A module that registers an operator or a class cannot be loaded twice.
    """

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}
        self._packages = {name.partition(".")[0] for name in sys.modules}

    def pytest_unconfigure(self) -> None:
        """Remember the modules of those packages."""
        self.modules |= {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in self._packages
        }


def run_refused_session(pytester: Any, *options: str) -> str:
    """The output of a session that ends before any item, run in this process, which has torch."""
    result = pytester.runpytest_inprocess(
        "--pyargs", "conformance.suite", "-p", "no:cacheprovider", *options
    )
    output = str(result.stderr.str() + result.stdout.str())
    assert result.ret == pytest.ExitCode.USAGE_ERROR, output
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output
    return output


class SpoiledLayer:
    """torch's layer with its outputs, its inputs or its answers tampered with."""

    def __init__(self, layer: Any, spoil: Callable[..., Any]) -> None:
        self._layer, self._spoil = layer, spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        outputs = self._layer(*inputs, **keywords)
        several = isinstance(outputs, tuple)
        spoiled = tuple(
            None if y is None else self._spoil(y, inputs)
            for y in (outputs if several else (outputs,))
        )
        return spoiled if several else spoiled[0]


class SpoiledBackend:
    """The torch backend with every output replaced by `spoil(output, inputs)`."""

    def __init__(self, name: str, spoil: Callable[..., Any]) -> None:
        self.name, self._spoil = name, spoil

    def info(self) -> dict[str, str]:
        """An empty mapping."""
        return {}

    def devices(self) -> list[str]:
        """The CPU."""
        return ["cpu"]

    def numerics(self, dtype: str) -> Any:
        """torch's own."""
        return torch_backend.numerics(dtype)

    def build(self, call: Call) -> SpoiledLayer:
        """torch's layer, spoiled."""
        return SpoiledLayer(torch_backend.build(call), self._spoil)


def with_argument(place: int, value: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap a function so that it gets another positional argument, if that is given."""

    def change(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(*arguments: Any, **options: Any) -> Any:
            if place < len(arguments):
                arguments = (*arguments[:place], value, *arguments[place + 1 :])
            return original(*arguments, **options)

        return wrong

    return change
