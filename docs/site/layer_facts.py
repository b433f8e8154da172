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
from conformance.strategies.invalid.breaks import all_breaks

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.backends.adapters.torch import backend
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.layers.describe import case_text
from conformance.layers.documented import find_quote
from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec

DTYPE, SEED = "float32", 0
VALID, INVALID, MAX_CALLS = 40, 60, 3
"""Valid and invalid cases to draw; calls to show."""
MAX_CALL_LENGTH = 110
_ARITHMETIC = "conformance.arithmetic."
_OPERATIONS = ("__add__", "__sub__", "__mul__", "__truediv__")
_UNROUNDED = {
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
        partly_exact: number of the others in which some elements must be exact.
    """

    name: str
    cases: int
    exact: int
    partly_exact: int


@dataclass(frozen=True)
class InvalidForm:
    """One way to make a call invalid.

    Args:
        name: the name of the break.
        argument: the argument that becomes invalid.
        quote: the sentence of torch's page that rules it out; empty if the page says nothing.
        call: an example; empty if none was drawn.
    """

    name: str
    argument: str
    quote: str
    call: str


@dataclass(frozen=True)
class CaseFacts:
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
    refused: tuple[InvalidForm, ...]


def collect_facts(spec: LayerSpec, valid: int = VALID, invalid: int = INVALID) -> CaseFacts:
    """Draw cases of a layer, and collect the facts.

    Args:
        spec: the layer's specification.
        valid, invalid: numbers of cases to draw.
    """
    steps: dict[tuple[str, str], Callable[..., Any]] = {}
    counts: dict[str, list[int]] = {}
    cases = draw_cases(spec.name, DTYPE, valid, SEED)
    for index in range(len(cases)):
        case = cases[index]
        is_exact = np.concatenate([np.zeros(0, bool), *_exact_elements(spec, case, steps)])
        if is_exact.size:
            counter = counts.setdefault(str(case.labels.get("regime", "")), [0, 0, 0])
            counter[0] += 1
            counter[1] += bool(is_exact.all())
            counter[2] += bool(is_exact.any() and not is_exact.all())
    regimes = [Regime(name, *counted) for name, counted in counts.items() if name]
    return CaseFacts(
        tuple(sorted(regimes, key=lambda r: -r.cases)),
        tuple(_readable_calls(case_text(cases[k]) for k in range(len(cases)))),
        steps,
        _invalid_forms(spec, invalid),
    )


def _readable_calls(texts: Iterator[str]) -> list[str]:
    """The first calls that are short enough to read, or else the shortest."""
    calls = list(dict.fromkeys(text.removesuffix(", cpu") for text in texts))
    short = [text for text in calls if len(text) <= MAX_CALL_LENGTH]
    return (short or sorted(calls, key=len))[:MAX_CALLS]


def _exact_elements(
    spec: LayerSpec, case: Case, steps: dict[tuple[str, str], Callable[..., Any]]
) -> list[np.ndarray]:
    """Which elements of each output are exact according to the oracle; record its steps."""
    trial = Trial(backend, spec, case)
    earlier_profiler = sys.getprofile()
    sys.setprofile(_step_profiler(steps))
    try:
        outputs = trial.expected
    finally:
        sys.setprofile(earlier_profiler)
    exact = []
    for x in outputs:
        alternatives = x.alternatives if isinstance(x, Choices) else (x,)
        exact.append(
            np.logical_and.reduce([alternative.error == 0 for alternative in alternatives]).reshape(
                -1
            )
        )
    return exact


def _step_profiler(steps: dict[tuple[str, str], Callable[..., Any]]) -> Callable[..., None]:
    """A profiler that records the public functions of the arithmetic that oracles call."""

    def record_step(frame: types.FrameType, event: str, result: Any) -> None:
        if event != "return" or not isinstance(result, (Rounded, Choices, tuple)):
            return
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        caller = frame.f_back.f_globals.get("__name__", "") if frame.f_back else ""
        if (
            not module.startswith(_ARITHMETIC)
            or caller.startswith(_ARITHMETIC)
            or name in _UNROUNDED
        ):
            return
        function = frame.f_globals.get(name)
        if name in _OPERATIONS:
            function = getattr(Rounded, name)
        elif name.startswith("_") or not inspect.isfunction(function):
            return
        steps.setdefault((module.removeprefix(_ARITHMETIC), name), function)

    return record_step


def _invalid_forms(spec: LayerSpec, count: int) -> tuple[InvalidForm, ...]:
    if spec.generation.invalid is None:
        return ()
    calls: dict[str, str] = {}
    cases = draw_cases(spec.name, DTYPE, count, SEED, invalid=True)
    for index in range(len(cases)):
        case = cases[index]
        text, name = case_text(case).removesuffix(", cpu"), str(case.labels["broken"])
        if len(text) < len(calls.get(name, "x" * 2 * MAX_CALL_LENGTH)):
            calls[name] = text
    breaks = {b.name: b for b in all_breaks(spec.generation.invalid)}
    return tuple(
        InvalidForm(
            b.name, b.argument, find_quote(spec.name, b.name, b.argument), calls.get(b.name, "")
        )
        for b in breaks.values()
    )
