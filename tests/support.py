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
from conformance.checks.answers import Answers
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.isolation import probe_process
from conformance.isolation.probe import offer
from conformance.items.planning import Item
from conformance.known.cpu import place_of
from conformance.known.entry import shipped
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Unsupported, Verdict
from conformance.model.failure import Failure, Inapplicable
from conformance.run.engine import Engine

LAYERS = tuple(CATALOGUE)
ELSEWHERE = tuple(name for name, row in CATALOGUE.items() if not row.in_torch)
ENOUGH = None if os.environ.get("NN_CONFORMANCE_TESTS") == "all" else 24
"""Compared cases after which a check, or a law, that should pass has passed; None = all."""
ANSWERS = Answers()
"""The oracle's to the cases that tests share."""


def cases(
    layer: str,
    dtype: str = "float32",
    examples: int = 200,
    seed: int = 0,
    *,
    invalid: bool = False,
    tiled: bool = False,
) -> tuple[Case, ...]:
    """The suite's own cases, kept between tests; those with sizes of blocks only where asked for.

    Their numbers have changed places: they are no longer what a regime promises.
    """
    drawn = _drawn(layer, dtype, examples, seed, invalid)
    return drawn if tiled else tuple(case for case in drawn if "tile" not in case.labels)


@lru_cache(maxsize=256)
def _drawn(layer: str, dtype: str, examples: int, seed: int, invalid: bool) -> tuple[Case, ...]:
    return tuple(draw_cases(layer, dtype, examples, seed, invalid=invalid))


def seen_here(backend: str = "torch") -> str:
    """The line of an entry of known failures that says that it was seen here.

    Args:
        backend: a name; torch's module or what looks like it.
    """
    return f"seen = [{json.dumps(place_of(backend, info_of(torch_backend), 'cpu'))}]\n"


# Layers that torch's CPU has in these dtypes only.
OFFERED = dict.fromkeys(
    (
        *("CTCLoss", "functional.ctc_loss"),
        "init.orthogonal_",
        *("MultiMarginLoss", "functional.multi_margin_loss"),
        *("MultiLabelMarginLoss", "functional.multilabel_margin_loss"),
    ),
    ("float32", "float64"),
)


def require_in_torch(layer: str) -> None:
    """Skip a test that compares with torch where torch does not have the layer."""
    if not CATALOGUE[layer].in_torch:
        pytest.skip(f"torch has no {layer}")


def offered(layer: str, *dtypes: str) -> tuple[str, ...]:
    """Those of some dtypes that torch has a layer in."""
    return tuple(dtype for dtype in dtypes if dtype in OFFERED.get(layer, dtypes))


@dataclass(frozen=True)
class Search:
    """What came of a check on one case after the other, up to the first that it fails on.

    Args:
        compared: cases that passed and in which something was compared.
        comparisons: numbers or facts compared in them.
        empty: cases that passed with nothing to compare, as those of an input without elements.
        declined: cases that the backend declined.
        beside: cases that the check does not apply to.
        known: cases that failed as torch's own known failures say, or were not run since they
            would end the process.
        failure: the first, without shrinking; None where no case fails.
        index: of the case that fails.
    """

    compared: int = 0
    comparisons: int = 0
    empty: int = 0
    declined: int = 0
    beside: int = 0
    known: int = 0
    failure: Failure | None = None
    index: int | None = None

    @property
    def passed(self) -> bool:
        """No case fails, and there is something in which none does.

        Half of the cases that the check applies to have to be compared: a backend that declines
        them, or answers without a number, passes nothing.
        """
        return self.failure is None and self.compared > self.empty + self.declined

    @property
    def said(self) -> str:
        """The failure's message; empty where there is none."""
        return "" if self.failure is None else str(self.failure)


def law_findings(
    backend: Any,
    layer: str,
    name: str,
    examples: int = 200,
    *,
    unlisted: bool = False,
    every: bool = False,
) -> tuple[int, list[str]]:
    """In how many cases a law of a layer compares something and holds, and what it finds in others.

    It looks no further than the first finding, or `ENOUGH` compared cases.

    Args:
        backend: whose answers the law is asked about.
        layer: a name of the catalogue.
        name: of the law.
        examples: cases to draw, in float32.
        unlisted: without what a known failure of torch's explains.
        every: of all cases.
    """
    if backend is torch_backend:
        require_in_torch(layer)
    row, excuses = CATALOGUE[layer], excuses_of(layer, "laws", "float32")
    place, law = next((k, x) for k, x in enumerate(row.laws) if x.name == name)
    spoken, found = 0, list[str]()
    for case in cases(layer, "float32", examples):
        if not every and (found or spoken == ENOUGH):
            break
        try:
            trial = Trial(backend, row, case, answers=ANSWERS)
            spoken += laws.held(trial, law, place).comparisons > 0
        except Inapplicable:
            continue
        except Failure as failure:
            entry = excuses.explaining(case, str(failure), failure.finding)
            if entry is None or not unlisted:
                found.append(str(failure))
    return spoken, found


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
    """Run a check on the cases of an item until it fails, or has compared enough of them.

    A caller asks for `passed` or for `failure`: no failure alone may be nothing at all.
    """
    if backend is torch_backend:
        require_in_torch(layer)
    engine = Engine(backend, examples, seed)
    engine.answers = ANSWERS
    item = Item(layer, check, dtype, "cpu")
    numerics = numerics_of(backend, dtype)
    found: Counter[str] = Counter()
    invalid = EVERY_CHECK[check].invalid
    excuses = excuses_of(layer, check, dtype)
    for index, case in enumerate(cases(layer, dtype, examples, seed, invalid=invalid, tiled=tiled)):
        if found["compared"] == enough:
            break
        if excuses.deadly(case) is not None:
            found["known"] += 1
            continue
        try:
            comparisons = engine.try_case(item, case, numerics).comparisons
        except Unsupported:
            found["declined"] += 1
        except Inapplicable:
            found["beside"] += 1
        except Failure as failure:
            if excuses.explaining(case, str(failure), failure.finding) is None:
                return Search(**found, failure=failure, index=index)
            found["known"] += 1
        else:
            found["compared" if comparisons else "empty"] += 1
            found["comparisons"] += comparisons
    return Search(**found)


def verdict(
    backend: Any, layer: str, check: str = "values", dtype: str = "float32", examples: int = 40
) -> Verdict:
    """What an item of a shipped backend comes to, its known failures known, on its first device."""
    item = Item(layer, check, dtype, devices_of(backend)[0])
    return Engine(backend, examples, 0, shipped(backend.name)).run(item)


def status(
    backend: Any, layer: str, check: str = "values", dtype: str = "float32", examples: int = 40
) -> str:
    """The verdict's status only."""
    return verdict(backend, layer, check, dtype, examples).status


def assert_declined(
    backend: Any, layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    """A call without a state, on ones, is declined for a reason, as it is built or later."""

    def call() -> None:
        built = backend.build(Call(layer, arguments, {}, "float32", "cpu"))
        built(built.put(np.ones(shape)))

    with pytest.raises(Unsupported, match=reason):
        call()


@lru_cache
def known(layer: str, check: str, dtype: str) -> tuple[Any, ...]:
    """torch's own known failures of an item."""
    item = {"layer": layer, "check": check, "dtype": dtype, "device": "cpu"}
    return tuple(entry for entry in shipped("torch") if entry.applies(**item, backend="torch"))


def excuses_of(layer: str, check: str, dtype: str) -> Excuses:
    """What torch's own known failures explain of an item."""
    return Excuses(known(layer, check, dtype), EVERY_CHECK[check])


# Variables that change what a session does, or what it prints.
_ASKING = ("CONFORMANCE_", "PYTEST_", "GITHUB_ACTIONS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS")


def plug_in(pytester: Any, monkeypatch: Any, backends: str) -> None:
    """A module `plugged` for sessions of pytest, without the options of this one."""
    for name in [name for name in os.environ if name.startswith(_ASKING)]:
        monkeypatch.delenv(name)
    pytester.makepyfile(plugged=backends)
    # What this session imports conformance from, that one must, too.
    paths = [
        str(pytester.path),
        str(Path(__file__).parent),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(pytester.path)


def session(pytester: Any, *options: str) -> Any:
    """What a session of the suite comes to, in as few processes as it can do with.

    This process has torch already: pytest runs in it, and asks the backend in it what it offers.
    Workers of xdist are started by a pytest of its own, which asks in another one.

    Args:
        pytester: pytest's.
        options: of pytest.
    """
    suite = ("--pyargs", "conformance.suite", "-p", "no:cacheprovider")
    if any(option in options for option in ("-n1", "-n2")):
        return apart(pytester, *suite, "-pwarm", *options)
    kept = _Kept()
    with pytest.MonkeyPatch.context() as here:
        here.setattr(probe_process, "offered_by", lambda asked, seconds: offer(asked))
        result = pytester.runpytest_inprocess(*suite, *options, plugins=[kept])
    sys.modules.update(kept.modules)
    return result


def apart(pytester: Any, *arguments: str) -> pytest.RunResult:
    """What a session of pytest comes to in a fork of this process, which has torch already."""
    if not forked.FORKS:
        return pytester.runpytest_subprocess(*arguments)

    def run() -> tuple[Any, ...]:
        # Workers get the path that their session's process began with.
        workermanage._sys_path = list(sys.path)
        result = pytester.runpytest_inprocess(*arguments)
        return result.ret, result.outlines, result.errlines, result.duration

    try:
        return pytest.RunResult(*forked.called(run))
    except forked.EndedError as ended:
        return pytest.RunResult(ended.args[0], [], [], 0.0)


class _Kept:
    """Modules of packages that were loaded before, torch above all, which pytest would drop.

    What registers an operator or a class cannot be loaded twice.
    """

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}
        self._packages = {name.partition(".")[0] for name in sys.modules}

    def pytest_unconfigure(self) -> None:
        """Note what is there."""
        self.modules |= {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in self._packages
        }


def refused(pytester: Any, *options: str) -> str:
    """What a session says that ends before any item; in this process, which has torch already."""
    result = pytester.runpytest_inprocess(
        "--pyargs", "conformance.suite", "-p", "no:cacheprovider", *options
    )
    said = str(result.stderr.str() + result.stdout.str())
    assert result.ret == pytest.ExitCode.USAGE_ERROR, said
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said
    return said


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


class Spoiled:
    """The torch backend with every output replaced by `spoil(output, inputs)`."""

    def __init__(self, name: str, spoil: Callable[..., Any]) -> None:
        self.name, self._spoil = name, spoil

    def info(self) -> dict[str, str]:
        """Nothing."""
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
