"""The terminal's table of benchmarks, and their comparison with an earlier run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from conformance.reports.results import Benchmark, Run

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
TimingKey = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class TimingChange:
    """The timings of one call in this run and in an earlier run.

    Args:
        now, before: its benchmark lines; both have ratios to torch's time.
    """

    now: Benchmark
    before: Benchmark

    @property
    def ratio(self) -> float:
        """Present ratio to torch's time ÷ earlier ratio.

        torch serves as the clock, so that the speed and the load of the machine cancel out.
        """
        return _required(self.now.ratio) / _required(self.before.ratio)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest ratio that the two intervals allow."""
        now, before = self.now, self.before
        return (
            _required(now.ratio_low) / _required(before.ratio_high),
            _required(now.ratio_high) / _required(before.ratio_low),
        )

    def regression(self, limit: float) -> str:
        """Describe the regression if the smallest possible ratio exceeds a limit, else `""`."""
        low, high = self.bounds
        if low <= limit:
            return ""
        return (
            f"{self.ratio:.2f} times as slow as before, relative to torch (at least {low:.2f}, "
            f"at most {high:.2f}); allowed {limit:g}"
        )


class EarlierTimings:
    """The benchmark lines of an earlier results file, by layer, call, dtype and device."""

    def __init__(self, lines: Sequence[Mapping[str, Any]]) -> None:
        benchmarks = [msgspec.convert(line, Benchmark) for line in lines]
        self._lines = {_key(line): line for line in benchmarks if _has_ratio(line)}

    def change(self, line: Benchmark) -> TimingChange | None:
        """Compare a line with the earlier line; None if either has no ratio."""
        before = self._lines.get(_key(line))
        return None if before is None or not _has_ratio(line) else TimingChange(line, before)

    def torch_regression(self, line: Benchmark, limit: float) -> str:
        """Without an earlier run: describe a call that is slower than torch by more than `limit`.

        The text is empty if the call is fast enough or if there is an earlier run.
        """
        if self._lines or not _has_ratio(line) or _required(line.ratio_low) <= limit:
            return ""
        return (
            f"{line.ratio:.2f} times as slow as torch (at least {line.ratio_low:.2f}); "
            f"allowed {limit:g}"
        )


def table_lines(run: Run, changes: Sequence[TimingChange] = ()) -> Iterator[str]:
    """The lines of the terminal's table.

    Args:
        changes: the calls that an earlier run timed too.
    """
    lines = [msgspec.convert(line, Benchmark) for line in run.benchmarks]
    before = {_key(change.now): change for change in changes}
    rows = [("call", "median", "÷ torch (95 %)", "GFLOP/s", "GB/s", "÷ earlier" if before else "")]
    rows += [_table_row(line, before.get(_key(line))) for line in lines]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
    timed = [line for line in lines if line.status == "timed"]
    untimed_count = len(lines) - len(timed)
    references = sorted({line.verified for line in timed if line.verified})
    yield (
        f"{len(timed)} timed, each verified against {' or '.join(references) or 'nothing'}; "
        f"{untimed_count} not"
    )
    if any(line.bytes and line.peak_bytes and line.bytes > line.peak_bytes for line in timed):
        yield "GB/s of more than 100 % of what a large copy reaches came out of a cache"
    for facts in run.timing:
        if facts.get("note"):
            yield f"note: {facts['note']}"


def _table_row(line: Benchmark, change: TimingChange | None) -> tuple[str, str, str, str, str, str]:
    call = f"{line.layer} {line.name}, {line.direction}, {line.dtype}, {line.device}"
    if line.status != "timed":
        return call, line.status, "", "", "", ""
    ratio = "–"
    if _has_ratio(line):
        ratio = f"{line.ratio:.2f} ({line.ratio_low:.2f} – {line.ratio_high:.2f})"
    return (
        call,
        f"{duration(line.seconds)} ± {duration((line.iqr or 0) / 2)}",
        ratio,
        _rate(line.flops, line.peak_flops),
        _rate(line.bytes, line.peak_bytes),
        f"{change.ratio:.2f} ({change.bounds[0]:.2f} – {change.bounds[1]:.2f})" if change else "",
    )


def duration(seconds: float | None) -> str:
    """Format seconds in a suitable unit: `"1.52 ms"`."""
    if seconds is None:
        return "–"
    size, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def _rate(value: float | None, peak: float | None) -> str:
    if not value:
        return "–"
    share = f" ({value / peak:.0%})" if peak else ""
    return f"{value / 1e9:.3g}{share}"


def _key(line: Benchmark) -> TimingKey:
    return line.layer, line.name, line.dtype, line.device, line.direction


def _has_ratio(line: Benchmark) -> bool:
    return line.status == "timed" and all((line.ratio, line.ratio_low, line.ratio_high))


def _required(value: float | None) -> float:
    assert value is not None
    return value
