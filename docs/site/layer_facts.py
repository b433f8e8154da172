"""Facts about a layer that its specification does not contain, from a few of its cases.

The cases are the first ones that the suite draws. The facts are counted, never guessed.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from conformance.strategies.invalid.breaks import every_break

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.backends.adapters.torch import backend
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.layers.describe import case_text
from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec

DTYPE, SEED = "float32", 0
VALID, INVALID, SHOWN = 40, 60, 3
"""Valid and invalid cases to draw; calls to show."""
LONGEST = 110
_ROOM = "conformance.arithmetic."
_OPERATIONS = ("__add__", "__sub__", "__mul__", "__truediv__")
_MOVES = {
    *("exactly", "traced", "with_node", "moved_cotangent", "unbroadcast", "join"),
    *("enclosed", "joined", "constant", "known", "gather", "take", "settled", "itself"),
}
"""Functions that do not round: they move numbers or describe them."""


@dataclass(frozen=True)
class Regime:
    """Counts of the cases with values of one kind.

    Args:
        name: the label of the regime.
        cases: number of drawn cases whose outputs have an element.
        exact: number of these in which every element must be exact.
        some: number of the others in which some elements must be exact.
    """

    name: str
    cases: int
    exact: int
    some: int


@dataclass(frozen=True)
class Refused:
    """One way to make a call invalid.

    Args:
        name: the name of the break.
        argument: the argument that becomes invalid.
        required: who demands that the call is refused.
        call: an example; empty if none was drawn.
    """

    name: str
    argument: str
    required: str
    call: str


@dataclass(frozen=True)
class Facts:
    """Facts from the cases of a layer.

    Args:
        regimes: the kinds of values, the most frequent first.
        calls: examples of calls.
        steps: functions of the arithmetic that the oracle calls, by module and name.
        refused: the ways to make a call invalid.
    """

    regimes: tuple[Regime, ...]
    calls: tuple[str, ...]
    steps: Mapping[tuple[str, str], Callable[..., Any]]
    refused: tuple[Refused, ...]


def facts(row: LayerSpec, valid: int = VALID, invalid: int = INVALID) -> Facts:
    """Draw cases of a layer, and collect the facts.

    Args:
        row: the layer's specification.
        valid, invalid: numbers of cases to draw.
    """
    steps: dict[tuple[str, str], Callable[..., Any]] = {}
    counts: dict[str, list[int]] = {}
    cases = draw_cases(row.name, DTYPE, valid, SEED)
    for place in range(len(cases)):
        case = cases[place]
        sure = np.concatenate([np.zeros(0, bool), *_sure(row, case, steps)])
        if sure.size:
            mine = counts.setdefault(str(case.labels.get("regime", "")), [0, 0, 0])
            mine[0] += 1
            mine[1] += bool(sure.all())
            mine[2] += bool(sure.any() and not sure.all())
    regimes = [Regime(name, *of) for name, of in counts.items() if name]
    return Facts(
        tuple(sorted(regimes, key=lambda r: -r.cases)),
        tuple(_shown(case_text(cases[k]) for k in range(len(cases)))),
        steps,
        _refused(row, invalid),
    )


def _shown(texts: Iterator[str]) -> list[str]:
    """The first calls that are short enough to read, or else the shortest."""
    found = list(dict.fromkeys(text.removesuffix(", cpu") for text in texts))
    short = [text for text in found if len(text) <= LONGEST]
    return (short or sorted(found, key=len))[:SHOWN]


def _sure(
    row: LayerSpec, case: Case, steps: dict[tuple[str, str], Callable[..., Any]]
) -> list[np.ndarray]:
    """Which elements of each output are exact according to the oracle; record its steps."""
    trial = Trial(backend, row, case)
    before = sys.getprofile()
    sys.setprofile(_noting(steps))
    try:
        outputs = trial.expected
    finally:
        sys.setprofile(before)
    found = []
    for x in outputs:
        right = x.alternatives if isinstance(x, Choices) else (x,)
        found.append(np.logical_and.reduce([one.error == 0 for one in right]).reshape(-1))
    return found


def _noting(steps: dict[tuple[str, str], Callable[..., Any]]) -> Callable[..., None]:
    """A profiler that records the public functions of the arithmetic that oracles call."""

    def note(frame: types.FrameType, event: str, result: Any) -> None:
        if event != "return" or not isinstance(result, (Rounded, Choices, tuple)):
            return
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        caller = frame.f_back.f_globals.get("__name__", "") if frame.f_back else ""
        if not module.startswith(_ROOM) or caller.startswith(_ROOM) or name in _MOVES:
            return
        function = frame.f_globals.get(name)
        if name in _OPERATIONS:
            function = getattr(Rounded, name)
        elif name.startswith("_") or not inspect.isfunction(function):
            return
        steps.setdefault((module.removeprefix(_ROOM), name), function)

    return note


def _refused(row: LayerSpec, count: int) -> tuple[Refused, ...]:
    if row.generation.invalid is None:
        return ()
    drawn: dict[str, str] = {}
    cases = draw_cases(row.name, DTYPE, count, SEED, invalid=True)
    for place in range(len(cases)):
        case = cases[place]
        text, name = case_text(case).removesuffix(", cpu"), str(case.labels["broken"])
        if len(text) < len(drawn.get(name, "x" * 2 * LONGEST)):
            drawn[name] = text
    found = {b.name: b for b in every_break(row.generation.invalid)}
    return tuple(
        Refused(b.name, b.argument, b.required, drawn.get(b.name, "")) for b in found.values()
    )
