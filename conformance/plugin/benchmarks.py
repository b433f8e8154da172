"""Benchmarks within pytest: measured in the child process, handed to pytest-benchmark, recorded.

They run in the process that runs the items of the verdicts. So a backend that crashes or hangs
loses only one number, and the code that was verified is the code that is timed. pytest-benchmark
keeps its statistics, its JSON and its comparisons. A timer replays the measured rounds to it,
because pytest-benchmark cannot interleave its own rounds with torch's.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.isolation.process import ChildDied
from conformance.plugin.shared import BENCHMARK_PROPERTY
from conformance.plugin.timings import EarlierTimings, TimingChange, table_lines
from conformance.reports.results import Benchmark, ResultsError, read

if TYPE_CHECKING:
    from conformance.plugin.shared import SessionLike
    from conformance.timing.workloads import TimedCall


class _Clock:
    """A clock that only the replayed rounds move forward."""

    now = 0.0


def replayed_seconds() -> float:
    """Return the time that pytest-benchmark sees, in seconds."""
    return _Clock.now


class Benchmarks:
    """The benchmarks of a session.

    Args:
        session: the suite's session.

    Raises:
        pytest.UsageError: if the earlier results cannot be read.
    """

    def __init__(self, session: SessionLike) -> None:
        self.session = session
        self.items = self._plan_items()
        self.changes: list[TimingChange] = []
        path = session.settings.compare
        try:
            self.earlier = EarlierTimings(() if path is None else read(path).benchmarks)
        except (ResultsError, OSError) as error:
            raise pytest.UsageError(f"--conformance-compare={path}: {error}") from None
        self._bench: Any = None

    def _plan_items(self) -> tuple[TimedCall, ...]:
        from conformance.model.shards import shard_of
        from conformance.timing.workloads import plan_calls

        settings = self.session.settings
        index, count = settings.shard
        items = plan_calls(
            settings.benchmarks,
            layers=settings.layers,
            # Users do not expect every call in four dtypes unless they name the dtypes.
            dtypes=settings.dtypes if settings.explicit_dtypes else ("float32",),
            devices=self.session.plan.devices,
        )
        return tuple(item for item in items if shard_of(item.id, count) == index)

    def judge(self, request: pytest.FixtureRequest, item: TimedCall) -> None:
        """Time a call, record its benchmark line, and set the outcome of the running test."""
        if self.session.worker:
            pytest.skip("left to the serial phase after this one")
        benchmark = request.getfixturevalue("benchmark")
        if benchmark.disabled:
            benchmark.pedantic(lambda: None)
            pytest.skip("pytest-benchmark is disabled")
        line, rounds = self._measure(item)
        data = {"kind": "benchmark", **msgspec.to_builtins(line)}
        request.node.user_properties.append(
            (BENCHMARK_PROPERTY, msgspec.json.encode(data).decode())
        )
        benchmark.group = f"{item.layer} {item.direction}"
        benchmark.extra_info.update({k: v for k, v in data.items() if v is not None})
        if rounds:
            _replay(benchmark, rounds)
        else:
            benchmark.skipped = True
        self._report_outcome(item, line)

    def _report_outcome(self, item: TimedCall, line: Benchmark) -> None:
        reason = line.status.removeprefix("not timed: ").split()[0]
        if reason in ("failed", "crashed", "hung"):
            pytest.fail(f"{line.status}\n{line.message or ''}", pytrace=False)
        if line.status != "timed":
            pytest.skip(f"{line.status}; {line.message}" if line.message else line.status)
        change = self.earlier.change(line)
        if change is not None:
            self.changes.append(change)
        limit = self.session.settings.regression
        if limit is None:
            return
        problem = change.regression(limit) if change else self.earlier.torch_regression(line, limit)
        if problem:
            pytest.fail(f"{item.id}: {problem}", pytrace=False)

    def _measure(self, item: TimedCall) -> tuple[Benchmark, tuple[float, ...]]:
        engine, set_name = self.session.engine, self.session.settings.benchmarks
        if not isinstance(engine, IsolatedEngine):
            from conformance.timing.measure import Bench

            self._bench = self._bench or Bench(engine.backend, engine.seed)
            return self._bench.measure(item, set_name)  # type: ignore[no-any-return]
        unmeasured = Benchmark(item.layer, item.name, item.dtype, item.device, item.direction)
        try:
            answer = engine.child.ask({"benchmark": dataclasses.asdict(item), "set": set_name})
        except ChildDied as died:
            status = f"not timed: {died.status}"
            return msgspec.structs.replace(unmeasured, status=status, message=died.cause), ()
        if "raised" in answer:
            raise RuntimeError(f"the suite's own code failed:\n{answer['raised']}")
        return msgspec.convert(answer["line"], Benchmark), tuple(answer["rounds"])

    def finish(self, session: pytest.Session) -> None:
        """Run the serial phase after a parallel run, or record what the times depend on."""
        from conformance.plugin.serial import run_serial_phase
        from conformance.timing import machine

        if not self.items or self.session.worker:
            return
        finished = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        recorder = self.session.recorder
        if getattr(self.session.config.option, "numprocesses", None):
            if session.exitstatus in finished:
                code = run_serial_phase(self.session)
                if code not in finished:
                    recorder.trouble.append(f"benchmarks: the serial phase ended with {code}")
                if code:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        lines = recorder.run().benchmarks
        if lines:
            spread, note = machine.assess_noise(lines)
            recorder.append(
                {
                    "kind": "timing",
                    "cpu": recorder.identity.cpu,
                    "devices": list(recorder.identity.devices),
                    "threads": dict(recorder.identity.threads),
                    "versions": {
                        "torch": recorder.identity.torch,
                        "numpy": recorder.identity.numpy,
                        "python": recorder.identity.python,
                        **recorder.identity.info,
                    },
                    **self.facts,
                    "spread": spread,
                    "note": note,
                }
            )

    def started(self) -> None:
        """Record facts of the machine before the run keeps it busy."""
        from conformance.timing import machine

        self.facts = machine.machine_facts()

    def summarise(self, reporter: pytest.TerminalReporter) -> None:
        """Write the table of benchmarks to the terminal."""
        run = self.session.recorder.run()
        if run.benchmarks:
            reporter.section(f"benchmarks of {self.session.plan.backend}", sep="=")
            for line in table_lines(run, self.changes):
                reporter.write_line(line)


def _replay(benchmark: Any, rounds: tuple[float, ...]) -> None:
    """Replay measured rounds to pytest-benchmark.

    Args:
        rounds: seconds of one call, for each round.
    """
    remaining = iter(rounds)

    def replay_round() -> None:
        _Clock.now += next(remaining, 0.0)

    benchmark.pedantic(replay_round, rounds=len(rounds), iterations=1)
