"""What a check did to a backend, step by step, and what it got."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from conformance.model.case import Call, Case
from conformance.model.proof import Index

# Members of a layer that are recorded, and what their results are called.
_NAMES = {
    "put": "x", "call": "y", "forward_grad": "y", "vjp": "g", "state": "s", "get": "a",
    "attributes": "f", "shape": "f", "dtype": "f", "device": "f", "aliases": "f",
    "load": "", "train": "",
}  # fmt: skip
FACTS = ("attributes", "shape", "dtype", "device", "aliases")
"""Members whose results are plain values."""


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
        member: its name; `"build"` of the backend, any other of a layer.
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


class Transcript:
    """The steps of one check on one case.

    Args:
        begun: called with the transcript before each step: what comes next may be the last.
    """

    def __init__(self, begun: Callable[[Transcript], None] | None = None) -> None:
        self.steps: list[Step] = []
        self._begun = begun
        self._names: dict[int, str] = {}
        self._alive: list[Any] = []
        self._counted: dict[str, int] = {}
        self.forms: dict[str, Any] = {}
        self._layers = 0

    def backend(self, inner: Any) -> Any:
        """A backend that does as another does, each step written down."""
        return _Recorded(inner, self)

    def built(self, build: Callable[[Call], Any], call: Call) -> Any:
        """Build a layer, and record what is asked of it."""
        self._layers += 1
        step = Step("build", self._layers, call)
        layer = self._run(step, build, (call,), {})
        if not call.state:
            step.initial = _initial(layer)
        return _RecordedLayer(layer, self, step)

    def taken(self, step: Step, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call a member of a layer."""
        step.arguments = tuple(self._written(x) for x in given)
        step.keywords = {name: self._written(x) for name, x in named.items()}
        letter = _NAMES[step.member]
        if letter:
            self._counted[letter] = self._counted.get(letter, 0) + 1
            step.name = f"{letter}{self._counted[letter]}"
        result = self._run(step, function, given, named)
        if step.member == "get" or step.member in FACTS:
            step.result = result
        elif step.name:
            self._keep(step.name, result)
            self.forms[step.name] = form(result)
        return result

    def _run(self, step: Step, function: Callable[..., Any], given: Any, named: Any) -> Any:
        self.steps.append(step)
        if self._begun is not None:
            self._begun(self)
        try:
            return function(*given, **named)
        except (Exception, SystemExit) as error:
            step.error = error
            raise

    def _keep(self, name: str, result: Any) -> None:
        """Remember natives by their identity; they stay alive, lest another takes it."""
        if isinstance(result, (tuple, list)):
            for place, part in enumerate(result):
                self._keep(f"{name}[{place}]", part)
        elif isinstance(result, Mapping):
            for key, part in result.items():
                self._keep(f"{name}[{key!r}]", part)
        elif result is not None:
            # An output may be an input, or a gradient a cotangent: it is the newer one. An output
            # that is an earlier output is that.
            if self._names.get(id(result), "")[:1] != name[:1]:
                self._names[id(result)] = name
            self._alive.append(result)

    def _written(self, value: Any) -> Any:
        if id(value) in self._names:
            return Ref(self._names[id(value)])
        if isinstance(value, (tuple, list)):
            return type(value)(self._written(x) for x in value)
        if isinstance(value, Mapping):
            return {key: self._written(x) for key, x in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        return self._again(value) or value.copy()

    def _again(self, array: np.ndarray) -> Again | None:
        """An array that was read, if it is no plainer one that anybody might give."""
        if array.dtype.kind not in "fc" or not array.any() or np.array_equal(array, np.rint(array)):
            return None
        for step in self.read():
            if step.result.shape == array.shape and np.array_equal(step.result, array):
                return Again(step.name, array)
        return None

    def read(self) -> list[Step]:
        """The steps that gave arrays."""
        return [s for s in self.steps if s.member == "get" and isinstance(s.result, np.ndarray)]

    def located(
        self, array: np.ndarray, where: Index | None, apart: str | None = None
    ) -> str | None:
        """An array, or an element of it, in terms of the arrays that were read.

        By the memory that it shares with one of them; an element also by its value, where that
        stands in one place only.

        Args:
            array: read, or made of what was read.
            where: the element; None = all of it.
            apart: what another array was located as, which this one is not a part of.
        """
        read = [s for s in self.read() if not (apart or "").startswith(f"{s.name}[")][::-1]
        for step in read:
            if step.result is array:
                return step.name if where is None else _element(step.name, where)
            if array.size and step.result.size and np.shares_memory(step.result, array):
                found = _within(step, array, where)
                if found is not None:
                    return found
        if where is None:
            return _whole(read, array)
        places = [
            _element(step.name, place)
            for step in read
            for place in _places(step.result, array[where])
        ]
        return places[0] if len(places) == 1 else None


def form(result: Any) -> Any:
    """What there is of a result: None, natives, and what holds them."""
    if isinstance(result, Mapping):
        return [(key, form(part)) for key, part in result.items()]
    if isinstance(result, (tuple, list)):
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


def _element(name: str, where: Index) -> str:
    return f"{name}[{', '.join(map(str, where)) or '()'}]"


def _places(array: np.ndarray, wanted: Any) -> list[Index]:
    """Where an array holds a number, bit by bit but for NaN."""
    if array.dtype.kind not in "fciub":
        return []
    same = (array == wanted) & (np.signbit(np.real(array)) == np.signbit(np.real(wanted)))
    if wanted != wanted:
        same = np.isnan(array)
    return [tuple(map(int, place)) for place in np.argwhere(same)]


def _within(step: Step, array: np.ndarray, where: Index | None) -> str | None:
    """A view of an array that was read, or an element of the view."""
    source = step.result
    if not source.flags.c_contiguous or source.itemsize != array.itemsize:
        return None
    if where is None:
        whole = array.size == source.size and array.flags.c_contiguous
        return f"{step.name}.reshape({array.shape})" if whole else None
    moved = sum(i * s for i, s in zip(where, array.strides, strict=True))
    offset = array.ctypes.data + moved - source.ctypes.data
    place = np.unravel_index(offset // source.itemsize, source.shape)
    return _element(step.name, tuple(map(int, place)))


def _whole(read: list[Step], array: np.ndarray) -> str | None:
    """An array of the same numbers in the same order."""
    for step in read:
        same = step.result.size == array.size
        if same and np.array_equal(step.result.reshape(-1), array.reshape(-1), equal_nan=True):
            return f"{step.name}.reshape({array.shape})"
    return None


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


class _Recorded:
    def __init__(self, inner: Any, transcript: Transcript) -> None:
        self._inner, self._transcript = inner, transcript

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def build(self, call: Call) -> Any:
        return self._transcript.built(self._inner.build, call)


class _RecordedLayer:
    def __init__(self, inner: Any, transcript: Transcript, build: Step) -> None:
        self._inner, self._transcript, self._build = inner, transcript, build

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        step = Step("call", self._build.layer, self._build.call)
        return self._transcript.taken(step, self._inner, *inputs, **keywords)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in _NAMES or not callable(found):
            return found
        step = partial(Step, name, self._build.layer, self._build.call)
        return lambda *given, **named: self._transcript.taken(step(), found, *given, **named)
