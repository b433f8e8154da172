"""A backend that forwards to another one and records each step in a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.backends.guard import Trusted
from conformance.diagnosis.transcript import RESULT_LETTERS, Ref, Step, Transcript
from conformance.model.case import Call
from conformance.model.untrusted import is_of_type


@dataclass(frozen=True, eq=False)
class Native(Ref):
    """A backend's native with the expression for it; each step returns new ones.

    Two steps may return the same object because of a bug. Wrappers tell their results apart.

    Args:
        value: the backend's own object.
    """

    value: Any


class RecordingBackend(Trusted):
    """A backend whose steps are recorded.

    Args:
        inner: the backend.
        transcript: records its steps.
    """

    def __init__(self, inner: Any, transcript: Transcript) -> None:
        self._inner, self._transcript = inner, transcript

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def build(self, call: Call) -> Any:
        """Build a layer whose steps are recorded."""
        step, layer = self._transcript.record_build(self._inner.build, call)
        return _RecordingLayer(layer, self._transcript, step)


class _RecordingLayer:
    def __init__(self, inner: Any, transcript: Transcript, build: Step) -> None:
        self._inner, self._transcript, self._build = inner, transcript, build

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return self._record("call", self._inner, *inputs, **keywords)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if name == "updated":
            return self._record(name, lambda: member)
        if name not in RESULT_LETTERS or not callable(member):
            return member
        return partial(self._record, name, member)

    def aliases(self, a: Any, b: Any) -> bool:
        """Whether two natives are one object, or share memory if the layer has `aliases`."""
        aliases = getattr(self._inner, "aliases", None)
        if aliases is None or _unwrap(a) is _unwrap(b):
            return bool(self._record("same", lambda a, b: a is b, a, b))
        return bool(self._record("aliases", aliases, a, b))

    def _record(self, member: str, function: Any, *arguments: Any, **keywords: Any) -> Any:
        step = Step(member, self._build.layer, self._build.call)
        step.arguments = self._transcript.as_script_value(arguments)
        step.keywords = self._transcript.as_script_value(keywords)
        result = self._transcript.record_call(
            step, function, *_unwrap(arguments), **_unwrap(keywords)
        )
        return _with_names(step.name, result) if step.native else result


def _with_names(name: str, result: Any) -> Any:
    """Wrap the natives in a result with their expressions in the script."""
    if is_of_type(result, tuple, list):
        parts = (_with_names(f"{name}[{index}]", part) for index, part in enumerate(result))
        return tuple(parts) if is_of_type(result, tuple) else list(parts)
    if is_of_type(result, dict):
        return {key: _with_names(f"{name}[{key!r}]", part) for key, part in result.items()}
    return None if result is None else Native(name, result)


def _unwrap(value: Any) -> Any:
    """Replace wrapped natives by the backend's own objects."""
    if isinstance(value, Native):
        return value.value
    if type(value) in (tuple, list):
        return type(value)(map(_unwrap, value))
    if type(value) is dict:
        return {key: _unwrap(part) for key, part in value.items()}
    return value
