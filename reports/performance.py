"""Benchmark results: durations of calls relative to torch's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from conformance.reports.results import Benchmark, Run


@dataclass(frozen=True)
class Timing:
    """The benchmark lines of a run.

    Args:
        lines: in the order of the file, each call once.
        timed: number of calls that were timed.
        mean: geometric mean of the ratios to torch; None without any.
        by: what the answers were compared with.
    """

    lines: tuple[Benchmark, ...]
    timed: int
    mean: float | None
    by: tuple[str, ...] = ()


def timings(run: Run) -> Timing:
    """Collect the benchmark lines; of two lines for one call, the later counts."""
    lines_by_call: dict[tuple[str, ...], Benchmark] = {}
    for line in benchmarks(run):
        lines_by_call[line.layer, line.name, line.dtype, line.device, line.direction] = line
    lines = tuple(lines_by_call.values())
    timed = [line for line in lines if line.status == "timed"]
    ratios = (line.ratio for line in timed if is_drawable(line.ratio))
    by = tuple(sorted({line.verified for line in timed if line.verified}))
    return Timing(lines, len(timed), geometric_mean(ratios), by)


def benchmarks(run: Run) -> tuple[Benchmark, ...]:
    """The benchmark lines that can be read."""
    parsed = []
    for line in run.benchmarks:
        try:
            parsed.append(msgspec.convert(line, Benchmark))
        except msgspec.ValidationError:
            continue  # the reader has noted it
    return tuple(parsed)


def is_drawable(ratio: float | None) -> bool:
    """Whether a ratio can be drawn: finite and above 0."""
    return ratio is not None and math.isfinite(ratio) and ratio > 0


def rate(value: float | None) -> str:
    """Format a rate in units of 10⁹ per second, with three digits."""
    return f"{value / 1e9:.3g}" if is_drawable(value) and value is not None else "–"


def share(value: float | None, peak: float | None) -> str:
    """A rate as a share of the machine's peak rate; empty if one of them is not known."""
    if value is None or peak is None or not (is_drawable(value) and is_drawable(peak)):
        return ""
    return f"{value / peak:.0%}"


def geometric_mean(ratios: Iterable[float | None]) -> float | None:
    """The geometric mean, in which twice and half as fast cancel out; None without ratios."""
    logs = [math.log(ratio) for ratio in ratios if ratio is not None]
    return math.exp(sum(logs) / len(logs)) if logs else None
