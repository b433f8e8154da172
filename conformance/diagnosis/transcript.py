"""Record the steps of a check on a backend, and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.backends.foreign_calls import original_exception
from conformance.model.case import Call, Case
from conformance.model.untrusted import is_of_type

RESULT_LETTERS = {
    "put": "x", "call": "y", "forward_grad": "y", "vjp": "g", "vjp_of": "g",
    "value_and_vjp": "g", "accumulate": "g", "state": "s", "get": "a", "attributes": "f",
    "shape": "f", "dtype": "f", "device": "f", "aliases": "f", "same": "f", "updated": "u",
    "load": "", "train": "",
}  # fmt: skip
"""Recorded members of a layer → first letter of their results' names; empty = no result."""
FACT_MEMBERS = ("attributes", "shape", "dtype", "device", "aliases", "same")
"""Members whose results are plain values."""
MAX_ORDINARY_INTEGER = 2**20
"""Whole numbers below this are too common to be recognised as results of an earlier step."""


@dataclass(frozen=True)
class Ref:
    """A native that an earlier step returned.

    Args:
        text: the expression for it in a script: `"y2[0]"`.
    """

    text: str


@dataclass(frozen=True, eq=False)
class Again(Ref):
    """An array that the backend returned and that the check passes to it again.

    Args:
        array: its numbers.
    """

    array: np.ndarray


@dataclass(eq=False)
class Step:
    """One call of a member of the contract.

    Args:
        member: its name; `"build"` is the backend's, all others are a layer's. `"same"` tests
            whether two natives are one object.
        layer: number of the layer, counted from 1.
        call: the layer's call.
        arguments, keywords: those of the step; natives are `Ref` objects.
        name: name of the result in a script; empty if it is not kept.
        result: an array of `get`, or a plain value; None for natives.
        error: the exception that it raised.
        initial: the values that a layer drew, if it was built without a state.
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
        """Whether the result consists of natives."""
        return bool(self.name) and self.member != "get" and self.member not in FACT_MEMBERS


class Transcript:
    """The steps of one check on one case.

    Args:
        before_step: called with the transcript before each step, which may end the process.
    """

    def __init__(self, before_step: Callable[[Transcript], None] | None = None) -> None:
        self.steps: list[Step] = []
        self._before_step = before_step
        self._kept_alive: list[Any] = []
        self._result_counts: dict[str, int] = {}
        self.forms: dict[str, Any] = {}
        self._layer_count = 0

    def record_build(self, build: Callable[[Call], Any], call: Call) -> tuple[Step, Any]:
        """Build a layer and record the step."""
        self._layer_count += 1
        step = Step("build", self._layer_count, call)
        layer = self._run(step, build, (call,), {})
        if not call.state:
            step.initial = _initial_values(layer)
        return step, layer

    def record_call(
        self, step: Step, function: Callable[..., Any], *arguments: Any, **keywords: Any
    ) -> Any:
        """Call a member of a layer and record the step."""
        letter = RESULT_LETTERS[step.member]
        if letter:
            self._result_counts[letter] = self._result_counts.get(letter, 0) + 1
            step.name = f"{letter}{self._result_counts[letter]}"
        result = self._run(step, function, arguments, keywords)
        if step.native:
            # The script keeps all results alive, so the recording does, too.
            self._kept_alive.append(result)
            self.forms[step.name] = form(result)
        elif step.name:
            step.result = result
        return result

    def _run(self, step: Step, function: Callable[..., Any], arguments: Any, keywords: Any) -> Any:
        self.steps.append(step)
        if self._before_step is not None:
            self._before_step(self)
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            step.error = original_exception(error)
            raise

    def as_script_value(self, value: Any) -> Any:
        """A copy of a step's argument for the script: natives as `Ref`, arrays as copies."""
        if isinstance(value, Ref):
            return Ref(value.text)
        if type(value) in (tuple, list):
            return type(value)(self.as_script_value(x) for x in value)
        if isinstance(value, Mapping):
            return {key: self.as_script_value(x) for key, x in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        return self._find_reused_array(value) or value.copy()

    def _find_reused_array(self, array: np.ndarray) -> Again | None:
        """Find the earlier result that equals an array; None for arrays that are common or put."""
        if array.dtype.kind not in "fci" or not array.any():
            return None
        has_whole_numbers = array.dtype.kind == "i" or np.array_equal(array, np.rint(array))
        if has_whole_numbers and np.abs(array).max() < MAX_ORDINARY_INTEGER:
            return None
        put_arrays = (s.arguments[0] for s in self.steps if s.member == "put")
        if any(isinstance(x, np.ndarray) and _equal_arrays(x, array) for x in put_arrays):
            return None
        matching_names = (step.name for step in self.read() if _equal_arrays(step.result, array))
        name = next(matching_names, None)
        return None if name is None else Again(name, array)

    def read(self) -> list[Step]:
        """The `get` steps that returned arrays."""
        return [s for s in self.steps if s.member == "get" and isinstance(s.result, np.ndarray)]


def _equal_arrays(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)


def form(result: Any) -> Any:
    """The structure of a result: None, "tensor" for a native, and containers of these."""
    if is_of_type(result, dict):
        return [(key, form(part)) for key, part in result.items()]
    if is_of_type(result, tuple, list):
        return tuple(map(form, result))
    return None if result is None else "tensor"


def _initial_values(layer: Any) -> dict[str, np.ndarray]:
    """The values that a layer drew; empty if it lacks `state` or `load`, or they fail."""
    if not hasattr(layer, "state") or not hasattr(layer, "load"):
        return {}
    try:
        return {name: np.array(layer.get(native)) for name, native in layer.state().items()}
    except Exception:
        return {}


def plan_call(case: Case) -> Transcript:
    """The steps with which every check begins, build, put and call, without running them."""
    transcript, call = Transcript(), case.call
    transcript.steps.append(Step("build", 1, call))
    names: list[Ref | None] = []
    for input_index, x in enumerate(case.inputs):
        first_place = next(k for k in range(input_index + 1) if case.inputs[k] is x)
        if x is None or first_place < input_index:
            names.append(None if x is None else names[first_place])
            continue
        layout = (*case.layouts, *("contiguous",) * len(case.inputs))[input_index]
        names.append(Ref(f"x{input_index + 1}"))
        transcript.steps.append(Step("put", 1, call, (x, layout), {}, f"x{input_index + 1}"))
    transcript.steps.append(Step("call", 1, call, tuple(names), dict(case.keywords), "y1"))
    return transcript
