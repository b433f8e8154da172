"""A backend that forwards to another one and records each step in a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.backends.guard import Admitted
from conformance.diagnosis.transcript import MEMBERS, Ref, Step, Transcript
from conformance.model.case import Call
from conformance.model.untrusted import of_type


@dataclass(frozen=True, eq=False)
class Native(Ref):
    """A backend's native with the expression for it; each step returns new ones.

    Two steps may return the same object because of a bug. Wrappers tell their results apart.

    Args:
        value: the backend's own object.
    """

    value: Any


class Recorded(Admitted):
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
        step, layer = self._transcript.built(self._inner.build, call)
        return _Layer(layer, self._transcript, step)


class _Layer:
    def __init__(self, inner: Any, transcript: Transcript, build: Step) -> None:
        self._inner, self._transcript, self._build = inner, transcript, build

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return self._taken("call", self._inner, *inputs, **keywords)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "updated":
            return self._taken(name, lambda: found)
        if name not in MEMBERS or not callable(found):
            return found
        return partial(self._taken, name, found)

    def aliases(self, a: Any, b: Any) -> bool:
        """Whether two natives are one object, or share memory if the layer has `aliases`."""
        known = getattr(self._inner, "aliases", None)
        if known is None or _own(a) is _own(b):
            return bool(self._taken("same", lambda a, b: a is b, a, b))
        return bool(self._taken("aliases", known, a, b))

    def _taken(self, member: str, function: Any, *given: Any, **named: Any) -> Any:
        step = Step(member, self._build.layer, self._build.call)
        step.arguments = self._transcript.written(given)
        step.keywords = self._transcript.written(named)
        result = self._transcript.taken(step, function, *_own(given), **_own(named))
        return _named(step.name, result) if step.native else result


def _named(name: str, result: Any) -> Any:
    """Wrap the natives in a result with their expressions in the script."""
    if of_type(result, tuple, list):
        parts = (_named(f"{name}[{place}]", part) for place, part in enumerate(result))
        return tuple(parts) if of_type(result, tuple) else list(parts)
    if of_type(result, dict):
        return {key: _named(f"{name}[{key!r}]", part) for key, part in result.items()}
    return None if result is None else Native(name, result)


def _own(value: Any) -> Any:
    """Replace wrapped natives by the backend's own objects."""
    if isinstance(value, Native):
        return value.value
    if type(value) in (tuple, list):
        return type(value)(map(_own, value))
    if type(value) is dict:
        return {key: _own(part) for key, part in value.items()}
    return value
