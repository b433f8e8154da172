"""One benchmark: build the layer, verify it, time it in turns with torch, verify it again."""

from __future__ import annotations

import functools
import hashlib
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.backends import registry
from conformance.backends.capabilities import breaches_of, devices_of, is_offered
from conformance.backends.foreign_calls import call_foreign
from conformance.backends.guard import BackendError, unguarded_backend, unguarded_layer
from conformance.backends.sealed import SealedBackend, SealedLayer
from conformance.checks.trial import Trial
from conformance.model.case import Unsupported
from conformance.model.failure import Failure
from conformance.model.protocols import SEALED_PREFIX, Backend
from conformance.reports.results import Benchmark
from conformance.timing.cost import BYTES_PER_NUMBER, Cost, cost
from conformance.timing.operands import TimedArrays
from conformance.timing.peaks import Peak, measure_peak
from conformance.timing.rounds import TimedSide, Times, median_and_iqr, median_interval, time_rounds
from conformance.timing.verification import VacuousBound, Verifier
from conformance.timing.workloads import FAILED, NOT_TIMED, WORKLOADS, TimedCall

# Seconds of rounds for one call.
SECONDS = {"small": 0.25, "full": 1.5}


@dataclass
class Bench:
    """Times calls of one backend, each in turns with torch's.

    Args:
        backend: the implementation under test.
        seed: of the run.
        note: called with the phase that comes next, as in `Engine`.
    """

    backend: Backend
    seed: int
    note: Callable[[str, int, int], None] = lambda phase, index, checked: None
    _peaks: dict[tuple[str, str], Peak | None] = field(default_factory=dict)

    def measure(self, item: TimedCall, set_name: str) -> tuple[Benchmark, tuple[float, ...]]:
        """Measure a call.

        Args:
            item: what to time.
            set_name: the set of calls; it decides how long to measure.

        Returns:
            The benchmark line, and the seconds of each round.
        """
        try:
            return self._measure(item, set_name)
        except Unsupported as declined:
            return _untimed_line(item, f"unsupported: {declined or 'no reason given'}"), ()
        except VacuousBound as void:
            return _untimed_line(item, "not verified", str(void)), ()
        except Failure as failure:
            checked = "values" if item.direction == "forward" else "gradients"
            return _untimed_line(item, f"{FAILED}{checked}", str(failure)), ()

    def _measure(self, item: TimedCall, set_name: str) -> tuple[Benchmark, tuple[float, ...]]:
        if not is_offered(self.backend, item.layer, item.dtype, item.device):
            raise Unsupported(f"{item.layer} in {item.dtype} on {item.device} is not offered")
        job = _Job(self, item, TimedArrays(item, WORKLOADS[item.layer, item.name]))
        job.verify_exact_regime()
        if job.is_late():
            return _untimed_line(item, "answers come late, and the layer offers no sync()"), ()
        reference, remark = job.reference()
        times = job.time(reference, SECONDS[set_name])
        for kind, text in breaches_of(self.backend):
            return _untimed_line(item, kind, text), ()
        assert times.sample is not None
        arrays, answer = times.sample
        try:
            job.verify(self.backend, job.layer, arrays, answer)
        except Failure as failure:
            remark = "right before it was timed, wrong in a timed round:"
            raise Failure(failure.finding.in_context(remark)) from None
        line = _timed_line(
            item, times, job.work(), self._peak(item), job.verifier.reference, remark
        )
        return line, tuple(times.own)

    def _peak(self, item: TimedCall) -> Peak | None:
        key = (item.dtype, item.device)
        if key not in self._peaks:
            self.note("checking", 0, 0)
            torch = _load_torch(item.device)
            self._peaks[key] = None if torch is None else measure_peak(torch, *key)
        return self._peaks[key]


class _Job:
    """One call, built once for the backend and once for torch."""

    def __init__(self, bench: Bench, item: TimedCall, operands: TimedArrays) -> None:
        self.bench, self.item, self.operands = bench, item, operands
        key = hashlib.sha256(f"{bench.seed}/{item.id}".encode()).digest()
        self.generator = np.random.default_rng(int.from_bytes(key[:8], "big"))
        self.call = operands.call(self.generator)
        self.verifier = Verifier(operands, _load_torch("cpu"))
        self.layer = self._build(bench.backend)
        if item.direction != "forward" and not hasattr(self.layer, "vjp"):
            raise Unsupported("gradients not offered")
        self.exact_regime = self._draw_arrays(exact_regime=True)

    def _build(self, backend: Backend) -> Any:
        self.bench.note("checking", 0, 0)
        case = self.operands.case(self.call, ())
        return Trial(backend, self.operands.spec, case).layer

    def _draw_arrays(self, *, exact_regime: bool = False) -> Any:
        inputs = self.operands.inputs(self.generator, exact_regime=exact_regime)
        if self.item.direction == "forward":
            return inputs, ()
        return inputs, self.operands.cotangents(self.generator, exact_regime=exact_regime)

    def verify_exact_regime(self) -> None:
        """Verify the backend before the timing, on operands that allow an equality test."""
        self.verify(self.bench.backend, self.layer, self.exact_regime)

    def is_late(self) -> bool:
        """Whether calls return before their work is done, and the layer has no `sync`.

        Then the first `get` of an answer takes as long as the work, but the second does not. The
        test uses the minimum of several tries, so that a busy machine does not count as evidence.
        """
        if hasattr(self.layer, "sync"):
            return False
        durations_by_step: tuple[list[float], ...] = ([], [], [])
        for _ in range(5):
            natives = [self.layer.put(x.copy()) for x in self.exact_regime[0]]
            times = [clock.perf_counter()]
            answer = self.layer(*natives)
            native = answer[0] if isinstance(answer, (tuple, list)) else answer
            times.append(clock.perf_counter())
            for _ in range(2):
                self.layer.get(native)
                times.append(clock.perf_counter())
            for k, durations in enumerate(durations_by_step):
                durations.append(times[k + 1] - times[k])
        call, first, second = map(min, durations_by_step)
        return first > 2 * second + call

    def work(self) -> Cost:
        """The work of the call; zero if the call returns its input unchanged."""
        inputs, _ = self.exact_regime
        if self.operands.spec.traits.may_alias_inputs:
            outputs = self.layer(*(self.layer.put(x.copy()) for x in inputs))
            answer = np.asarray(
                self.layer.get(outputs[0] if isinstance(outputs, tuple) else outputs)
            )
            if np.array_equal(answer.reshape(-1), inputs[0].reshape(-1), equal_nan=True):
                return Cost(0, 0)
        return cost(self.operands, self.call, inputs)

    def verify(self, backend: Backend, layer: Any, arrays: Any, answer: Any = None) -> None:
        """Compare an answer with the oracle; see `Verifier.check`."""
        if answer is None:
            answer = self._answer(backend, layer, arrays)
        # The time limit of a case does not apply to the oracle, which may take longer.
        self.bench.note("drawing", 0, 0)
        self.verifier.check(backend, layer, self.call, arrays, answer)

    def _answer(self, backend: Backend, layer: Any, arrays: Any) -> Any:
        self.bench.note("checking", 0, 0)
        trial = Trial(backend, self.operands.spec, self.operands.case(self.call, arrays[0]))
        side = self._make_side(layer)
        natives = trial.run_step("put", side.put, arrays)
        name = "call" if self.item.direction == "forward" else "vjp"
        return trial.run_step(name, side.call, natives)

    def reference(self) -> tuple[Any, str]:
        """Build and verify torch's own layer.

        Returns:
            The layer and `""`, or None and the reason why there is no layer.
        """
        is_sealed = isinstance(unguarded_backend(self.bench.backend), SealedBackend)
        torch = _load_torch(self.item.device, sealed=is_sealed)
        if torch is None:
            return None, f"torch has no device {self.item.device}"
        try:
            layer = self._build(torch)
            self.verify(torch, layer, self.exact_regime)
        except (Unsupported, Failure, VacuousBound) as error:
            return None, f"torch itself: {str(error).splitlines()[0]}"
        return layer, ""

    def time(self, reference: Any, seconds: float) -> Times:
        """Time the rounds; an exception in a round counts as a failure of the backend."""
        layers = [self.layer] if reference is None else [self.layer, reference]
        # Both sides need the same clock: the device's clock only if both offer it.
        clocked = all(hasattr(layer, "stopwatch") for layer in layers)
        sides = [self._make_side(layer, clocked=clocked, timed=True) for layer in layers]
        inputs, cotangents = self.exact_regime
        elements = sum(x.size for x in (*inputs, *cotangents) if x is not None)
        trial = Trial(self.bench.backend, self.operands.spec, self.operands.case(self.call, ()))
        times: Times = trial.run_step(
            "a timed round",
            call_foreign,
            time_rounds,
            sides[0],
            sides[1] if len(sides) > 1 else None,
            self._draw_arrays,
            self.generator,
            seconds=seconds,
            size=elements * BYTES_PER_NUMBER[self.item.dtype],
            note=lambda block: self.bench.note("checking", block, 0),
        )
        return times

    def _make_side(self, layer: Any, *, clocked: bool = False, timed: bool = False) -> TimedSide:
        # Time the layer itself: the guard around it is not part of the call's time.
        callee = unguarded_layer(layer) if timed else layer

        def put_all(arrays: Any) -> Any:
            return [None if x is None else layer.put(x.copy()) for x in arrays]

        def put(arrays: Any) -> Any:
            return put_all(arrays[0]), put_all(arrays[1])

        def forward(natives: Any) -> Any:
            return callee(*natives[0])

        def forward_and_backward(natives: Any) -> Any:
            return callee.vjp(*natives)

        call = forward if self.item.direction == "forward" else forward_and_backward
        stopwatch = layer.stopwatch if clocked else None
        sync = getattr(layer, "sync", _no_sync)
        if not timed or not isinstance(callee, SealedLayer):
            return TimedSide(put, call, sync, stopwatch)

        def call_batch(batch: Sequence[Any]) -> list[Any]:
            if self.item.direction == "forward":
                return list(callee.call_batch("call", [natives[0] for natives in batch]))
            return list(callee.call_batch("vjp", batch))

        return TimedSide(put, call, sync, None, call_batch)


def _no_sync() -> None:
    """Stand in for `sync` of a backend whose calls return when their work is done."""


def _load_torch(device: str, *, sealed: bool = False) -> Backend | None:
    """Load the backend of torch itself; None if it cannot be used or lacks the device.

    Args:
        sealed: in a sealed process, so that both sides of a comparison take the same way.
    """
    try:
        torch = _load_sealed_torch() if sealed else registry.load("torch")
        return torch if device in devices_of(torch) else None
    except BackendError:
        return None


@functools.cache
def _load_sealed_torch() -> Backend:
    """Load torch in one sealed process, which serves all calls that are timed."""
    return registry.load(f"{SEALED_PREFIX}torch")


def _untimed_line(item: TimedCall, reason: str, message: str = "") -> Benchmark:
    return Benchmark(
        item.layer, item.name, item.dtype, item.device, item.direction,
        status=f"{NOT_TIMED}{reason}", message=message or None,
    )  # fmt: skip


def _timed_line(
    item: TimedCall, times: Times, work: Cost, peak: Peak | None, verified_by: str, remark: str
) -> Benchmark:
    seconds, iqr = median_and_iqr(times.own)
    ratio = spread = reference = None
    bounds = median_interval(times.ratios)
    if times.ratios:
        ratio, _ = median_and_iqr(times.ratios)
        reference, reference_iqr = median_and_iqr(times.reference)
        spread = reference_iqr / reference
    flops, moved = work.flops / seconds, work.bytes / seconds
    return Benchmark(
        item.layer, item.name, item.dtype, item.device, item.direction,
        seconds=seconds, iqr=iqr, ratio=ratio,
        ratio_low=bounds[0] if bounds else None,
        ratio_high=bounds[1] if bounds else None,
        torch_seconds=reference, spread=spread, rounds=len(times.own), calls=times.calls,
        flops=flops, bytes=moved,
        peak_flops=peak.flops if peak else None,
        peak_bytes=peak.bytes if peak else None,
        verified=verified_by, message=remark or None,
    )  # fmt: skip
