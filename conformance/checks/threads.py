"""`threads`: the answer depends neither on how many threads compute it, nor on calls at once.

A kernel cuts its work into as many parts as there are threads, from a certain size on. The sum of
the parts may round otherwise than the whole, but the bound holds for any order of summation. Some
cases are so large that kernels start several threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.backends.foreign_calls import HOOKS
from conformance.backends.memory_guard import is_guarding
from conformance.checks import cotangents, gradients, values
from conformance.checks.related_cases import updates_state
from conformance.checks.trial import Evidence, Trial
from conformance.model.case import NotOffered, Unsupported
from conformance.model.failure import Failure, Inapplicable

COUNTS = (2, 3, 4)
"""Numbers of threads; each case has one of them. Sizes that are powers of 2 leave a rest by 3."""
CALLERS = 4
"""How many Python threads call one layer at once; 2 if it has many elements."""
FEW_ELEMENTS = 64
"""Gradients of fewer elements are those of `gradients`: there is nothing to share."""
MANY_ELEMENTS = 4096
"""Calls of so many elements take most of this check's time, and overlap whoever makes them."""


def check(trial: Trial) -> Evidence:
    """Compare outputs, state and gradients with several threads, and of calls at once.

    Raises:
        Failure: if a number is beyond its bound.
        Unsupported: if the backend cannot change the number of its threads, or on another device
            than the CPU.
        Inapplicable: in a fork of the process: OpenMP's threads do not survive it, and a call with
            several would wait for them.
    """
    if HOOKS.get().in_fork:
        raise Inapplicable("threads in a fork")
    if trial.case.call.device != "cpu":
        raise NotOffered("threads of another device than the CPU")
    if trial.backend.read("use_threads") is None:  # type: ignore[attr-defined]
        raise NotOffered("use_threads not offered")
    count = COUNTS[trial.case.seed % len(COUNTS)]
    first = _answer_of_one_thread(trial)
    with _in_part(f"with {count} threads"), _use_threads(trial, count):
        several = trial.trial_of(trial.case)
        evidence = values.check(several)
        arrays = several.arrays
        if _count_elements(trial) >= FEW_ELEMENTS:
            with suppress(Unsupported, Inapplicable):
                evidence += _compare_gradients(trial.trial_of(trial.case))
    if first is not None:
        evidence += Evidence(bits=_count_equal_bits(trial, first, arrays))
    callers = CALLERS if _count_elements(trial) <= MANY_ELEMENTS else 2
    with _in_part(f"called by {callers} threads at once"):
        return evidence + _compare_calls_at_once(trial, callers)


def _count_elements(trial: Trial) -> int:
    """The size of the largest operand or output."""
    sizes = [x.size for x in trial.case.operands]
    return max([*sizes, *map(math.prod, trial.shapes)], default=0)


def _answer_of_one_thread(trial: Trial) -> tuple[np.ndarray, ...] | None:
    """The outputs of one thread; None if calls depend on those before them."""
    if updates_state(trial) or trial.spec.randomness.is_used(trial.case.call):
        return None
    with _use_threads(trial, 1):
        return trial.on_same_layer().arrays


def _count_equal_bits(
    trial: Trial, first: Sequence[np.ndarray], several: Sequence[np.ndarray]
) -> dict[str, tuple[int, int]]:
    """Whether another run, other threads, and a call of the first sample alone give equal bits.

    These are facts, and no failures: a sum of other parts may round otherwise.

    Args:
        first: the outputs of one thread.
        several: those of several threads.
    """
    with _use_threads(trial, 1):
        bits = {"run": _count_same(trial.on_same_layer().arrays, first)}
        bits |= _count_same_in_batch(trial, first)
    return bits | {"threads": _count_same(several, first)}


def _count_same(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> tuple[int, int]:
    """(1, 1) if all arrays have the same bits, and (0, 1) if not; every NaN is one."""
    is_same = all(
        np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")
        and np.array_equal(np.signbit(x.real), np.signbit(y.real))
        for x, y in zip(got, wanted, strict=True)
    )
    return int(is_same), 1


def _count_same_in_batch(trial: Trial, whole: Sequence[np.ndarray]) -> dict[str, tuple[int, int]]:
    """The same for the first sample of a batch, if the oracle gives it the same numbers alone."""
    case, spec = trial.case, trial.spec
    axes = [None if x is None else spec.batch_axis(case, k) for k, x in enumerate(case.inputs)]
    output_axes = [spec.output_batch_axis(case, output) for output in trial.present_outputs]
    sizes = {
        x.shape[axis]
        for x, axis in zip(case.inputs, axes, strict=True)
        if x is not None and axis is not None
    }
    if len(sizes) != 1 or sizes <= {0, 1} or any(axis is None for axis in output_axes):
        return {}
    inputs = tuple(
        x if x is None or axis is None else np.take(x, [0], axis)
        for x, axis in zip(case.inputs, axes, strict=True)
    )
    if case.keywords or not spec.variation.allows(spec, replace(case, inputs=inputs)):
        return {}
    alone = trial.trial_of(replace(case, inputs=inputs, layouts=()))
    if any(isinstance(x, Choices) for x in (*trial.expected, *alone.expected)):
        return {}
    for x, y, axis in zip(trial.expected, alone.expected, output_axes, strict=True):
        if not np.array_equal(np.take(x.value, [0], axis), y.value, equal_nan=True):
            return {}  # samples depend on each other, as in a batch norm
    pairs = zip(whole, output_axes, strict=True)
    return {"batch": _count_same(alone.arrays, [np.take(x, [0], axis) for x, axis in pairs])}


def _compare_gradients(trial: Trial) -> Evidence:
    if getattr(trial.layer, "vjp", None) is None:
        return Evidence()
    expected = cotangents.expected_gradients(trial)
    natives = cotangents.put_cotangents(trial, expected.cotangents)
    return gradients.compare_gradients(trial, gradients.call_vjp(trial, natives), expected)


@contextmanager
def _in_part(situation: str) -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        raise Failure(failure.finding.in_part(situation), failure.proof) from failure


@contextmanager
def _use_threads(trial: Trial, count: int) -> Iterator[None]:
    use_threads = trial.backend.method("use_threads")  # type: ignore[attr-defined]
    trial.run_step("use_threads", use_threads, count)
    try:
        yield
    finally:
        trial.run_step("use_threads", use_threads, None)


def _compare_calls_at_once(trial: Trial, callers: int) -> Evidence:
    """Compare what one layer answers to each of several Python threads.

    A call that changes the state or draws numbers may depend on the order of the calls.
    """
    if updates_state(trial) or trial.spec.randomness.is_used(trial.case.call) or is_guarding():
        return Evidence()
    fresh = trial.trial_of(trial.case)  # what a first call prepares, each may find half done
    natives, layer = fresh.natives, fresh.layer
    if trial.spec.lazy is not None:
        fresh.outputs  # noqa: B018 - its first call changes the layer
    keywords = [deepcopy(dict(trial.case.keywords)) for _ in range(callers)]
    results = _run_at_once([lambda k=k: layer(*natives, **k) for k in keywords])  # type: ignore[misc]
    evidence, first, of_first = Evidence(), None, Evidence()
    for result in results:
        answered = trial.trial_of(trial.case)
        answered.layer = layer
        answered.outputs = answered.unpack_outputs(trial.run_step("call", result))
        if first is None:
            first, of_first = answered, values.compare_outputs(answered)
            evidence += of_first
        elif _count_same(answered.arrays, first.arrays)[0]:
            evidence += of_first
        else:
            evidence += values.compare_outputs(answered)
    return evidence


def _run_at_once(functions: list[Callable[[], Any]]) -> list[Callable[[], Any]]:
    """Run functions, each in a thread of its own; what each returns or raises, as a function."""
    barrier = threading.Barrier(len(functions))
    results = dict[int, Callable[[], Any]]()

    def run(place: int) -> None:
        barrier.wait()
        try:
            result = functions[place]()
            results[place] = lambda: result
        except BaseException as error:
            results[place] = lambda error=error: _raise(error)  # type: ignore[misc]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[k] for k in range(len(functions))]


def _raise(error: BaseException) -> Any:
    raise error
