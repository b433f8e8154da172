"""What a check did to a backend, step by step, and what it got."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.backends.foreign_calls import original
from conformance.model.case import Call, Case
from conformance.model.untrusted import of_type

MEMBERS = {
    "put": "x", "call": "y", "forward_grad": "y", "vjp": "g", "vjp_of": "g",
    "value_and_vjp": "g", "state": "s", "get": "a", "attributes": "f", "shape": "f", "dtype": "f",
    "device": "f", "aliases": "f", "same": "f", "updated": "u", "load": "", "train": "",
}  # fmt: skip
"""Members of a layer that are recorded, and what their results are called."""
FACTS = ("attributes", "shape", "dtype", "device", "aliases", "same")
"""Members whose results are plain values."""
PLAIN = 2**20
"""Whole numbers below it may come from anywhere."""


@dataclass(frozen=True)
class Ref:
    """A native that an earlier step gave.

    Args:
        text: how it is written: `"y2[0]"`.
    """

    text: str


@dataclass(frozen=True, eq=False)
class Again(Ref):
    """An array that the backend gave and is given again.

    Args:
        array: its numbers.
    """

    array: np.ndarray


@dataclass(eq=False)
class Step:
    """One call of a member of the contract.

    Args:
        member: its name; `"build"` of the backend, any other of a layer; `"same"` asks of two
            natives whether they are one object.
        layer: which layer, counted from 1.
        call: of the layer.
        arguments, keywords: as given, natives as `Ref`.
        name: what the result is called; empty where there is none to keep.
        result: an array of `get`, or a plain value; None for natives.
        error: what it raised.
        initial: of a layer built without a state the values that it drew.
    """

    member: str
    layer: int
    call: Call
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    result: Any = None
    error: BaseException | None = None
    initial: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def native(self) -> bool:
        """Whether the result is natives."""
        return bool(self.name) and self.member != "get" and self.member not in FACTS


class Transcript:
    """The steps of one check on one case.

    Args:
        begun: called with the transcript before each step: what comes next may be the last.
    """

    def __init__(self, begun: Callable[[Transcript], None] | None = None) -> None:
        self.steps: list[Step] = []
        self._begun = begun
        self._alive: list[Any] = []
        self._counted: dict[str, int] = {}
        self.forms: dict[str, Any] = {}
        self._layers = 0

    def built(self, build: Callable[[Call], Any], call: Call) -> tuple[Step, Any]:
        """Build a layer."""
        self._layers += 1
        step = Step("build", self._layers, call)
        layer = self._run(step, build, (call,), {})
        if not call.state:
            step.initial = _initial(layer)
        return step, layer

    def taken(self, step: Step, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call a member of a layer."""
        letter = MEMBERS[step.member]
        if letter:
            self._counted[letter] = self._counted.get(letter, 0) + 1
            step.name = f"{letter}{self._counted[letter]}"
        result = self._run(step, function, given, named)
        if step.native:
            # In the script all that it gives stays alive.
            self._alive.append(result)
            self.forms[step.name] = form(result)
        elif step.name:
            step.result = result
        return result

    def _run(self, step: Step, function: Callable[..., Any], given: Any, named: Any) -> Any:
        self.steps.append(step)
        if self._begun is not None:
            self._begun(self)
        try:
            return function(*given, **named)
        except Exception as error:
            step.error = original(error)
            raise

    def written(self, value: Any) -> Any:
        """What is given to a step, as it stands in the script."""
        if isinstance(value, Ref):
            return Ref(value.text)
        if type(value) in (tuple, list):
            return type(value)(self.written(x) for x in value)
        if isinstance(value, Mapping):
            return {key: self.written(x) for key, x in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        return self._again(value) or value.copy()

    def _again(self, array: np.ndarray) -> Again | None:
        """An array that was read, if it is no plainer one, and none that was given before."""
        if array.dtype.kind not in "fci" or not array.any():
            return None
        whole = array.dtype.kind == "i" or np.array_equal(array, np.rint(array))
        if whole and np.abs(array).max() < PLAIN:
            return None
        given = (s.arguments[0] for s in self.steps if s.member == "put")
        if any(isinstance(x, np.ndarray) and _same(x, array) for x in given):
            return None
        found = (step.name for step in self.read() if _same(step.result, array))
        name = next(found, None)
        return None if name is None else Again(name, array)

    def read(self) -> list[Step]:
        """The steps that gave arrays."""
        return [s for s in self.steps if s.member == "get" and isinstance(s.result, np.ndarray)]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def form(result: Any) -> Any:
    """What there is of a result: None, natives, and what holds them."""
    if of_type(result, dict):
        return [(key, form(part)) for key, part in result.items()]
    if of_type(result, tuple, list):
        return tuple(map(form, result))
    return None if result is None else "tensor"


def _initial(layer: Any) -> dict[str, np.ndarray]:
    """What a layer drew; nothing where it does not say, or takes nothing back."""
    if not hasattr(layer, "state") or not hasattr(layer, "load"):
        return {}
    try:
        return {name: np.array(layer.get(native)) for name, native in layer.state().items()}
    except Exception:
        return {}


def planned(case: Case) -> Transcript:
    """Build, put and call, as every check begins, without doing it."""
    transcript, call = Transcript(), case.call
    transcript.steps.append(Step("build", 1, call))
    names: list[Ref | None] = []
    for place, x in enumerate(case.inputs):
        same = next(k for k in range(place + 1) if case.inputs[k] is x)
        if x is None or same < place:
            names.append(None if x is None else names[same])
            continue
        layout = (*case.layouts, *("contiguous",) * len(case.inputs))[place]
        names.append(Ref(f"x{place + 1}"))
        transcript.steps.append(Step("put", 1, call, (x, layout), {}, f"x{place + 1}"))
    transcript.steps.append(Step("call", 1, call, tuple(names), dict(case.keywords), "y1"))
    return transcript
