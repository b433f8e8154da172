"""`SealedBackend`: a backend whose code runs in a process that only the judge can ask."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from conformance.backends.guard import COMPUTING_MEMBERS
from conformance.backends.sealed_exceptions import SealedRefusal
from conformance.backends.sealed_messages import (
    FACT_MEMBERS,
    LAYER_MEMBERS,
    LayerReference,
    MethodReference,
    digest,
)
from conformance.backends.sealed_process import SealedProcess
from conformance.model.breaches import CHANGES
from conformance.model.protocols import ENTRY_POINTS

NOT_OFFERED = frozenset(("dry_run", "script", "script_printer", "record_requests", "isolate"))
"""Members of a backend that need objects of the judge, or code of the backend in its process."""
DECLARATIONS = frozenset(("numerics", "offers", "inherits"))
"""Members of a backend that are asked once for the same arguments: they declare, and compute
nothing. A copy of the judge's process, in which a case may end it, has their answers."""
NAMES_OF_BACKENDS = frozenset(("base", "less_optimized"))
"""Members that name backends which the judge loads in its own process."""
MAX_QUEUED_BYTES = 1 << 16
"""Most bytes of an array that is sent together with the next request."""
JUDGES_CLOCK = frozenset(("stopwatch",))
"""Members of a layer that the judge does not ask: it reads its own clock."""


class SealedBackend:
    """A backend that a sealed process loads; its members are asked for there.

    Args:
        backend: name under which the process loads the backend.
        seconds: time limit of a request; None where another process watches the time.

    Raises:
        BackendError: if the process cannot load it.
    """

    refusals = (SealedRefusal,)

    def __init__(self, backend: str, seconds: float | None = None) -> None:
        self._process = SealedProcess(backend, seconds)
        self._process.start()
        self._methods: dict[str, Callable[..., Any]] = {}
        self._references: dict[str, LayerReference] = {}

    def info(self) -> Mapping[str, str]:
        """The facts of the backend, and what its process is left with."""
        facts = self._process.call(0, "info").value
        return {**facts, "sealed": self._process.means} if isinstance(facts, dict) else facts

    def breaches(self) -> Sequence[tuple[str, str]]:
        """What the code under test did besides computing since the last call of this."""
        return self._process.breaches()

    def note_breach(self, kind: str, text: str) -> None:
        """Note what the code under test did."""
        self._process.note_breach(kind, text)

    def operators(self) -> Sequence[str]:
        """Names of torch's operators that the process has reported to run, after `breaches`."""
        return tuple(self._process.operators)

    def watch_end(self, seconds: float) -> AbstractContextManager[list[int | None]]:
        """Collect how the process ends; a request may take so many seconds meanwhile."""
        return self._process.watch_end(seconds)

    def close(self) -> None:
        """End the process."""
        self._process.stop()

    def build(self, call: Any) -> SealedLayer:
        """Build the layer of a call in the process.

        It is built with the next request if another layer of its name has said what methods these
        have. Then what the backend raises is raised by the first request that uses the layer.
        """
        known = self._references.get(call.layer)
        bytes_sent = sum(array.nbytes for array in call.state.values())
        if known is not None and not known.unsure and bytes_sent <= MAX_QUEUED_BYTES:
            native = self._process.queue(0, "build", call)
            expected = known._replace(number=native.sealed_number())
            queued: SealedLayer = _layer(self._process, expected)
            queued.is_described = False
            return queued
        reference = self._process.call(0, "build", call).value
        if isinstance(reference, LayerReference):
            self._references[call.layer] = reference
        layer: SealedLayer = _layer(self._process, reference)
        return layer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in NOT_OFFERED:
            raise AttributeError(name)
        if name not in self._methods:
            value = self._process.read(0, name)
            if name in NAMES_OF_BACKENDS:
                return _only_installed(value)
            if not isinstance(value, MethodReference):
                return value
            self._methods[name] = self._method(name, value.parameters)
        return self._methods[name]

    def _method(self, name: str, parameters: Sequence[str]) -> Callable[..., Any]:
        known: dict[Any, Any] = {}

        def method(*arguments: Any, **keywords: Any) -> Any:
            key = arguments, tuple(sorted(keywords.items()))
            if name in DECLARATIONS and key in known:
                return known[key]
            value = self._process.call(0, name, *arguments, **keywords).value
            if name in DECLARATIONS:
                known[key] = value
            return value

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [inspect.Parameter(x, kind) for x in parameters if x.isidentifier()]
        with contextlib.suppress(ValueError):
            method.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
        return method


class SealedLayer:
    """A layer in the sealed process.

    Args:
        process: where it is.
        reference: the layer as the process describes it.

    Attributes:
        is_described: whether the process has described this layer, and not one of the same name.
    """

    def __init__(self, process: SealedProcess, reference: LayerReference) -> None:
        self._process, self._number = process, reference.number
        self._native = process.native(reference.number)
        self._has_updated, self._fell_back = False, None
        self._take_description(reference)

    def _take_description(self, reference: LayerReference) -> None:
        self._names, self._unsure = frozenset(reference.methods), frozenset(reference.unsure)
        self.is_described = True

    def get(self, native: Any) -> Any:
        """The numbers of a native; a breach if they were others right after its call."""
        first = self._process.first_read(native)
        if first is not None and not self._process.reads_again(native, first):
            return first.array
        array = self._call("get", native)
        if first is not None and type(array) is np.ndarray and digest(array) != first.digest:
            self._process.note_breach(CHANGES, "an output is not what it was after its call")
        return array

    def dtype(self, native: Any) -> Any:
        """The dtype of a native."""
        return self._read_fact("dtype", native)

    def _read_fact(self, name: str, native: Any) -> Any:
        first = self._process.first_read(native)
        if first is None or name not in first.facts:
            return self._call(name, native)
        return first.facts[name]

    def call_batch(self, member: str, batch: Sequence[Any]) -> Sequence[Any]:
        """Call a method with the arguments of each call of a batch, and wait for the device.

        One request does it, so that the way to the process hardly counts when calls are timed.
        """
        value: Sequence[Any] = self._process.batch(self._number, member, batch).value
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in JUDGES_CLOCK:
            raise AttributeError(name)
        if name == "put" and name in self._names:
            return self._put
        if not self.is_described:
            reference = self._process.describe(self._number)
            if isinstance(reference, LayerReference):
                self._take_description(reference)
        if name == "fallbacks" and name in self._names:
            return lambda: self._fell_back
        if name in FACT_MEMBERS and name in self._names:
            return lambda native: self._read_fact(name, native)
        if name in self._names:
            return lambda *arguments, **keywords: self._call(name, *arguments, **keywords)
        if name in self._unsure or (name == "updated" and self._has_updated):
            return self._process.read(self._number, name)
        raise AttributeError(name)

    def _put(self, array: np.ndarray, layout: str = "contiguous", **keywords: Any) -> Any:
        # Some checks ask which layouts are refused, so these wait for the answer.
        if layout == "contiguous" and array.nbytes <= MAX_QUEUED_BYTES:
            return self._process.queue(self._number, "put", array, layout, **keywords)
        return self._call("put", array, layout, **keywords)

    def _call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        describes = not self.is_described
        answer = self._process.call(self._number, name, *arguments, describes=describes, **keywords)
        if describes and isinstance(answer.layer, LayerReference):
            self._take_description(answer.layer)
        if name in LAYER_MEMBERS:
            return _layer(self._process, answer.value)
        if name == "state":
            self._process.note_computed(answer.outputs)
        if name in COMPUTING_MEMBERS:
            self._has_updated, self._fell_back = answer.has_updated, answer.fell_back
            self._process.note_computed(answer.outputs)
        return answer.value


class CallableSealedLayer(SealedLayer):
    """A layer that can be called."""

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return self._call("call", *inputs, **keywords)


def _only_installed(names: Any) -> Any:
    """Names of installed entry points; a sealed process must not choose other code to be loaded."""
    installed = {point.name for point in entry_points(group=ENTRY_POINTS)}
    if type(names) is str:
        return names if names in installed else ""
    if type(names) in (tuple, list):
        return tuple(x for x in names if type(x) is str and x in installed)
    return None


def _layer(process: SealedProcess, reference: Any) -> Any:
    if not isinstance(reference, LayerReference):
        return reference
    kind = CallableSealedLayer if "call" in reference.methods else SealedLayer
    return kind(process, reference)
