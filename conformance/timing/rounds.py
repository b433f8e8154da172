"""Interleaved rounds, and statistics of their times.

A block times both sides twice, in the order A B B A or B A A B. So a linear drift cancels, and each
side equally often comes first, when the machine is colder. The ratio of a block is √(b₁b₂ / a₁a₂).
The reported ratio is the median over the blocks. Its interval is that of the sign test,
[x₍ₖ₎, x₍ₙ₊₁₋ₖ₎] of the ordered ratios. For any distribution it holds the median with probability at
least 1 − 2·P(B < k), B binomial (n, ½) (W. J. Conover, *Practical Nonparametric Statistics*, 1999,
§3.2; H. A. David and H. N. Nagaraja, *Order Statistics*, 2003, §7.1). If both sides are
the same, the logarithm of the ratio is symmetric about 0 by construction.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONFIDENCE = 0.95
# With 12 blocks the interval leaves out the two smallest and the two largest ratios:
# 1 − 2·79·2⁻¹² = .96.
MIN_BLOCKS = 12
# With 100 blocks the interval reaches from the 40th to the 61st ratio. To halve it, four times as
# many blocks are needed.
MAX_BLOCKS = 100
# Seconds of a round, long enough that reading the clock (about 50 ns) does not count.
MIN_ROUND_SECONDS = 5e-4
# All inputs and outputs of a round stay in memory until it ends.
MAX_CALLS_PER_ROUND = 64
# A cache can hold the new inputs of a round up to this size.
MAX_ROUND_BYTES = 4 << 20

Batch = Sequence[Any]
TimedRun = Callable[[Batch], tuple[float, list[Any]]]


@dataclass(frozen=True)
class TimedSide:
    """One of the two implementations to time.

    Args:
        put: converts the arrays of one call to natives; not timed.
        call: natives → outputs.
        sync: waits for the device.
        stopwatch: starts the device's own clock, and returns a function that stops the clock,
            waits, and returns the seconds. None = use the host's clock around calls and `sync`.
        call_batch: natives of several calls → their outputs, in one request to another process,
            which waits for its device. None = `call` for each.
    """

    put: Callable[[Any], Any]
    call: Callable[[Any], Any]
    sync: Callable[[], None]
    stopwatch: Callable[[], Callable[[], float]] | None = None
    call_batch: Callable[[Batch], list[Any]] | None = None

    def run(self, batch: Batch) -> tuple[float, list[Any]]:
        """Run a batch; return the mean seconds of a call, and all outputs."""
        call, outputs = self.call, []
        if self.call_batch is not None:
            started = time.perf_counter()
            outputs = self.call_batch(batch)
            return (time.perf_counter() - started) / len(batch), outputs
        if self.stopwatch is not None:
            self.sync()
            stop = self.stopwatch()
            for natives in batch:
                outputs.append(call(natives))
            return stop() / len(batch), outputs
        self.sync()
        started = time.perf_counter()
        # Keep all outputs: a lazy framework may skip the work for a result that nobody holds.
        for natives in batch:
            outputs.append(call(natives))
        self.sync()
        return (time.perf_counter() - started) / len(batch), outputs


@dataclass
class Times:
    """The times of the rounds.

    Args:
        calls: number of calls in each round.
        own: for each round, seconds of one call.
        reference: the same for the reference; empty without a reference.
        ratios: one ratio for each block.
        sample: arrays and outputs of one randomly chosen call of a timed round.
    """

    calls: int
    own: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    sample: tuple[Any, Any] | None = None


def time_rounds(
    own: TimedSide,
    reference: TimedSide | None,
    make_arrays: Callable[[], Any],
    generator: np.random.Generator,
    *,
    seconds: float,
    size: int,
    note: Callable[[int], None] = lambda index: None,
) -> Times:
    """Warm up, choose the length of a round, and time blocks of rounds.

    Args:
        own, reference: the two sides.
        make_arrays: makes the arrays of one call; every call of every round gets new arrays.
        generator: chooses the orders and the sample; the code under test must not know it.
        seconds: total time to spend; at least `MIN_BLOCKS` blocks run in any case.
        size: bytes of one call's inputs.
        note: called with the index of each block.
    """
    sides = [own] if reference is None else [own, reference]
    started = time.perf_counter()
    with _collector_off():
        call_seconds = max(_warm_up(side, make_arrays) for side in sides)
        max_calls = max(1, min(MAX_CALLS_PER_ROUND, MAX_ROUND_BYTES // max(size, 1)))
        times = Times(
            calls=max(1, min(max_calls, math.ceil(MIN_ROUND_SECONDS / max(call_seconds, 1e-9))))
        )
        block, orders = 0, list[bool]()
        while block < MAX_BLOCKS:
            elapsed = time.perf_counter() - started
            if block >= MIN_BLOCKS and elapsed > seconds:
                break
            note(block)
            if not orders:
                orders = [bool(x) for x in generator.permutation([0, 1])]
            sample = _time_block(times, sides, make_arrays, generator, first=orders.pop())
            block += 1
            # Reservoir sampling: a call of each block becomes the sample with equal probability.
            if generator.integers(0, block) == 0:
                times.sample = sample
    return times


def _time_block(
    times: Times,
    sides: Sequence[TimedSide],
    make_arrays: Callable[[], Any],
    generator: np.random.Generator,
    *,
    first: bool,
) -> tuple[Any, Any]:
    """Time one block; return the arrays and outputs of one of the own side's calls.

    The call is drawn after all are done, so that none can be skipped.
    """
    order = [0, 0]
    if len(sides) > 1:
        order = [0, 1, 1, 0] if first else [1, 0, 0, 1]
    arrays = [[make_arrays() for _ in range(times.calls)] for _ in range(2)]
    seconds_by_side: tuple[list[float], list[float]] = ([], [])
    sample: tuple[Any, Any] = (None, None)
    for k in order:
        call_arrays = arrays[len(seconds_by_side[k])]
        batch = [sides[k].put(arrays_of_call) for arrays_of_call in call_arrays]
        seconds, outputs = sides[k].run(batch)
        seconds_by_side[k].append(seconds)
        if k == 0:
            place = int(generator.integers(0, len(outputs)))
            sample = (call_arrays[place], outputs[place])
    own, reference = seconds_by_side
    times.own += own
    times.reference += reference
    if reference:
        times.ratios.append(math.sqrt(math.prod(own) / math.prod(reference)))
    return sample


def _warm_up(side: TimedSide, make_arrays: Callable[[], Any]) -> float:
    """Warm up a side; return the seconds of its fastest call of four."""
    return min(side.run([side.put(make_arrays())])[0] for _ in range(4))


@contextmanager
def _collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """A 95 % interval of the median by the sign test; None for too few values."""
    n, tail, k = len(values), 0.0, 0
    while True:
        tail += math.comb(n, k) / 2**n
        if 1 - 2 * tail < CONFIDENCE:
            break
        k += 1
    if k == 0:
        return None
    ordered = sorted(values)
    return ordered[k - 1], ordered[n - k]


def median_and_iqr(values: Sequence[float]) -> tuple[float, float]:
    """The median and the interquartile range."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, high - low
