"""`threads`: the answer depends neither on how many threads compute it, nor on calls at once.

A kernel cuts its work into as many parts as there are threads, from a certain size on. The sum of
the parts may round otherwise than the whole, but the bound holds for any order of summation. Some
cases are so large that kernels start several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

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
"""How many Python threads call one layer at once."""


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
    with _in_part(f"with {count} threads"), _use_threads(trial, count):
        evidence = values.check(trial.trial_of(trial.case))
        with suppress(Unsupported, Inapplicable):
            evidence += _compare_gradients(trial.trial_of(trial.case))
    with _in_part(f"called by {CALLERS} threads at once"):
        return evidence + _compare_calls_at_once(trial)


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


def _compare_calls_at_once(trial: Trial) -> Evidence:
    """Compare what one layer answers to each of several Python threads.

    A call that changes the state or draws numbers may depend on the order of the calls.
    """
    if updates_state(trial) or trial.spec.randomness.is_used(trial.case.call) or is_guarding():
        return Evidence()
    natives, layer = trial.natives, trial.layer
    if trial.spec.lazy is not None:
        trial.outputs  # noqa: B018 - its first call changes the layer
    keywords = [deepcopy(dict(trial.case.keywords)) for _ in range(CALLERS)]
    results = _run_at_once([lambda k=k: layer(*natives, **k) for k in keywords])  # type: ignore[misc]
    evidence = Evidence()
    for result in results:
        answered = trial.trial_of(trial.case)
        answered.layer = layer
        answered.outputs = answered.unpack_outputs(trial.run_step("call", result))
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
