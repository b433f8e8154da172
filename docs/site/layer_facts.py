"""What a row cannot say of itself and a few of its cases show.

Its cases are those that the suite draws first; what is told of them is counted, never guessed.
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
"""Cases that are drawn; calls of them that are shown."""
LONGEST = 110
_ROOM = "conformance.arithmetic."
_OPERATIONS = ("__add__", "__sub__", "__mul__", "__truediv__")
_MOVES = {
    *("exactly", "traced", "with_node", "moved_cotangent", "unbroadcast", "join"),
    *("enclosed", "joined", "constant", "known", "gather", "take", "settled", "itself"),
}
"""Functions that move numbers, or tell of them, and round none."""


@dataclass(frozen=True)
class Regime:
    """Cases that hold values of one kind.

    Args:
        name: its label.
        cases: how many of those drawn have outputs with an element.
        exact: how many of these have no element that may be off at all.
        some: how many others have an element that may not.
    """

    name: str
    cases: int
    exact: int
    some: int


@dataclass(frozen=True)
class Refused:
    """One way in which a call is invalid.

    Args:
        name: of the break.
        argument: what becomes invalid.
        required: who demands that it be refused.
        call: an example, if one was drawn.
    """

    name: str
    argument: str
    required: str
    call: str


@dataclass(frozen=True)
class Facts:
    """What cases of a layer show.

    Args:
        regimes: the kinds of values, the commonest first.
        calls: examples.
        steps: functions of the arithmetic that its oracle calls, by module and name.
        refused: the ways in which a call is invalid.
    """

    regimes: tuple[Regime, ...]
    calls: tuple[str, ...]
    steps: Mapping[tuple[str, str], Callable[..., Any]]
    refused: tuple[Refused, ...]


def facts(row: LayerSpec, valid: int = VALID, invalid: int = INVALID) -> Facts:
    """Draw cases of a layer and look at them.

    Args:
        row: of the layer.
        valid, invalid: how many are drawn.
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
    """The first calls that are short enough to read."""
    found = list(dict.fromkeys(text.removesuffix(", cpu") for text in texts))
    short = [text for text in found if len(text) <= LONGEST]
    return (short or sorted(found, key=len))[:SHOWN]


def _sure(
    row: LayerSpec, case: Case, steps: dict[tuple[str, str], Callable[..., Any]]
) -> list[np.ndarray]:
    """Which elements of a case's outputs are exact, by the oracle; its steps are noted."""
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
    """A profiler that keeps the arithmetic's public functions which oracles call."""

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
