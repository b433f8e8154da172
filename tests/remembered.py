"""Caches the oracle's answers from one bug to the next: all bugs of a layer see the same cases."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.checks import cotangents
from conformance.checks.trial import Trial

Function = Callable[..., Any]


class Memory:
    """Caches pure functions of a trial by the content of their arguments.

    Attributes:
        saved: CPU seconds saved so far.
    """

    def __init__(self) -> None:
        self.saved = 0.0
        self._answers: dict[bytes, tuple[Any, float]] = {}

    def forget(self) -> None:
        """Make room for another layer."""
        self._answers.clear()

    def memoize(self, function: Function) -> Function:
        """Wrap a function so that it computes no answer twice."""

        def cached_call(trial: Trial, *arguments: Any) -> Any:
            digest = hashlib.blake2b(function.__name__.encode(), digest_size=16)
            call = trial.case.call
            call_facts = (
                call.layer,
                call.dtype,
                call.arguments,
                trial.case.keywords,
                trial.precision,
            )
            digest.update(repr(call_facts).encode())
            try:
                # The first argument of `evaluate` is a state; `_expected` reads the case itself.
                for part in _key_parts((arguments, trial.case.inputs, call.state)):
                    digest.update(part)
            except _Recorded:
                return function(trial, *arguments)
            key = digest.digest()
            if key not in self._answers:
                started = time.process_time()
                result = function(trial, *arguments)
                self._answers[key] = result, time.process_time() - started
            else:
                self.saved += self._answers[key][1]
            return self._answers[key][0]

        return cached_call

    def install(self) -> None:
        """Let every trial in this process, and the gradients, use this cache."""
        Trial.evaluate = self.memoize(Trial.evaluate)  # type: ignore[method-assign]
        cotangents.oracle_gradients = self.memoize(cotangents.oracle_gradients)


class _Recorded(Exception):  # noqa: N818 - no error
    """An operand takes part in derivatives, so its identity counts, not its numbers."""


def _key_parts(value: Any) -> Iterator[bytes]:
    """Bytes that distinguish one value from another."""
    if isinstance(value, np.ndarray):
        yield repr((value.shape, value.dtype.str)).encode()
        yield value.tobytes()
    elif isinstance(value, Rounded):
        if value.node is not None:
            raise _Recorded
        yield repr((value.precision, value.grain, value.terms)).encode()
        yield from _key_parts((value.value, value.error, value.magnitude))
    elif isinstance(value, dict):
        yield from _key_parts(tuple(value.items()))
    elif isinstance(value, (tuple, list)):
        yield f"({len(value)}".encode()
        for item in value:
            yield from _key_parts(item)
    else:
        yield repr(value).encode()
