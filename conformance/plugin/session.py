"""A run of the suite within pytest: plan, engine, header and distribution."""

from __future__ import annotations

import gc
import os
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.generation.cases import MANY_CASES
from conformance.isolation.handshake import EXIT_IN_FORK
from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.model import temp_cleanup
from conformance.model.limits import keep_to_one_thread
from conformance.model.plain_text import bounded
from conformance.plugin.interrupts import MARKER_KEY, Interrupted
from conformance.plugin.options import SUITE, is_benchmark_path, load_known_failures, read_settings
from conformance.plugin.shared import (
    LONG_RUN_ENVIRONMENT,
    PLAN_KEY,
    UNSAFE_DISTRIBUTIONS,
    VERDICT_PROPERTY,
)
from conformance.plugin.terminal_text import terminal_width, wrapped
from conformance.plugin.worker_watchdog import CONTROLLER_KEY, exit_with_controller

if TYPE_CHECKING:
    from conformance.run.engine import Engine


class Session:
    """The suite's part of a pytest session, on the controller and on each xdist worker.

    Raises:
        pytest.UsageError: if an option is wrong or the backend cannot be used.
    """

    def __init__(self, config: pytest.Config) -> None:
        keep_to_one_thread(os.environ)
        from conformance.plugin.planning import Plan, make_plan

        self.config, self._process = config, os.getpid()
        self.settings = read_settings(config)
        if self.settings.examples > MANY_CASES:
            for name, value in LONG_RUN_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
        self.worker = hasattr(config, "workerinput")
        worker_input: dict[str, Any] = getattr(config, "workerinput", {})
        encoded_plan = worker_input.get(PLAN_KEY)
        # Workers get the plan from the controller, so that they need not import the backend.
        workers = getattr(config.option, "numprocesses", None) or 1
        self.plan = (
            make_plan(self.settings, workers) if encoded_plan is None else Plan.decode(encoded_plan)
        )
        self.settings = replace(self.settings, seed=self.plan.seed)
        # A run that names only the benchmarks has no items.
        only_benchmarks = all(is_benchmark_path(str(argument)) for argument in config.args)
        self.items = () if only_benchmarks and config.args else self.plan.items
        self.known = load_known_failures(self.plan.backend, self.settings.known, self.plan.base)
        self.interrupted = Interrupted(worker_input.get(MARKER_KEY))
        from conformance.plugin.benchmarks import Benchmarks

        self.benchmarks = Benchmarks(self)
        if not self.worker:
            from conformance.plugin.progress import Progress
            from conformance.plugin.recording import Recorder
            from conformance.plugin.terminal import Terminal

            self.recorder = Recorder(self)
            config.pluginmanager.register(self.recorder, "conformance-recorder")
            config.pluginmanager.register(Progress(self), "conformance-progress")
            config.pluginmanager.register(Terminal(self), "conformance-terminal")
            self._choose_distribution()
            temp_cleanup.remove_abandoned_folders()
        else:
            exit_with_controller(worker_input.get(CONTROLLER_KEY))
            if isinstance(self.engine, IsolatedEngine):
                # The child's imports overlap with pytest's collection.
                self.engine.child.start()

    @cached_property
    def engine(self) -> Engine | IsolatedEngine:
        """The engine that runs the items, in a child process or in this process."""
        from conformance.backends.registry import load
        from conformance.isolation.process import Child
        from conformance.model.budget import parse_budget
        from conformance.model.limits import Limits, memory_per_worker

        s, name = self.settings, self.plan.backend
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        budget_text = self.plan.budget
        budget = (
            None if budget_text is None else parse_budget(budget_text, len(self.items), workers)
        )
        if not self.plan.isolated:
            from conformance.run.engine import Engine

            backend, interrupted = load(s.address), self.interrupted
            return Engine(backend, s.examples, s.seed, self.known, interrupted, budget=budget)
        limits = Limits(self.plan.timeout, s.memory or memory_per_worker(workers))
        interrupted = self.interrupted
        child = Child(
            s.address, s.examples, s.seed, s.known, limits, interrupted, self.plan.base,
            s.memory_guard,
        )  # fmt: skip
        return IsolatedEngine(
            child, name, s.examples, s.seed, self.known, interrupted, self.plan.values, budget,
            self.plan.bases,
        )  # fmt: skip

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """Let Ctrl-C end a backend that runs in this process."""
        from conformance.backends.foreign_calls import hooks

        with hooks(interrupted=self.interrupted):
            return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send the plan to a worker of xdist."""
        node.workerinput[PLAN_KEY] = self.plan.encode()
        node.workerinput[MARKER_KEY] = str(self.interrupted.marker)
        if getattr(node.gateway.spec, "popen", None):
            node.workerinput[CONTROLLER_KEY] = os.getpid()

    def pytest_unconfigure(self) -> None:
        """End the child process."""
        self.interrupted.remove_marker()
        engine = self.__dict__.get("engine")
        if isinstance(engine, IsolatedEngine):
            engine.close()

    def _choose_distribution(self) -> None:
        """Make `worksteal` the default distribution: it keeps a layer's items on one worker.

        Raises:
            pytest.UsageError: for a distribution that a crashing backend would break.
        """
        option = self.config.option
        if not getattr(option, "numprocesses", None):
            return
        dist = getattr(option, "dist", "no")
        if dist in UNSAFE_DISTRIBUTIONS:
            raise pytest.UsageError(
                f"--dist={dist}: a crashing backend would end the session; "
                "expected worksteal (the suite's default) or load"
            )
        arguments = [str(a) for a in self.config.invocation_params.args]
        if dist == "load" and not any(a.startswith("--dist") for a in arguments):
            option.dist = "worksteal"

    def pytest_report_header(self) -> list[str]:
        """Header lines: the backend, the profile, the seed and the versions in use."""
        s = self.settings
        facts = ", ".join(f"{k} {v}" for k, v in self.plan.info.items())
        shard = f", shard {s.shard[0]}/{s.shard[1]}" if s.shard[1] > 1 else ""
        hypothesis, numpy = (version(package) for package in ("hypothesis", "numpy"))
        values = self.plan.values
        values_note = f", {values} of each structure" if values > 1 else ""
        budget_note = f", budget {self.plan.budget} s" if self.plan.budget else ""
        subject = "survey of backend" if s.survey else "backend"
        guard_note = ", memory guarded" if s.memory_guard else ""
        guard_note += ", sealed" if s.isolation == "sealed" else ""
        effect = "differences do not fail" if s.survey else "unlisted differences fail"
        versions = f" ({facts})" if facts else ""
        header = [
            f"conformance: {subject} {self.plan.backend}{versions}; {effect} the run",
            (
                f"conformance: device {', '.join(self.plan.devices)}; profile {s.profile}, "
                f"up to {s.examples} examples an item{values_note}{budget_note}, "
                f"seed {s.seed}{shard}{guard_note}; hypothesis {hypothesis}, numpy {numpy}"
            ),
        ]
        import importlib.util

        if importlib.util.find_spec("hypothesis_torch") is not None:
            header.append(
                "conformance: warning: the package hypothesis-torch is installed; its Hypothesis "
                "entry point doubles the cost of every example"
            )
        return [line for text in header for line in wrapped(text, terminal_width())]

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Skip the file of benchmarks unless the user asks for benchmarks."""
        is_off = self.settings.benchmarks == "none"
        return True if is_off and collection_path == SUITE / "test_benchmarks.py" else None

    def pytest_collection(self) -> None:
        """Warn once if this Hypothesis draws other cases for a seed than the supported versions."""
        from conformance.generation.provider import describe_other_drawing

        if not self.worker and (difference := describe_other_drawing()):
            warnings.warn(
                f"conformance: this Hypothesis, {version('hypothesis')}, lacks what the suite "
                f"draws with; it draws {difference}",
                stacklevel=1,
            )

    def pytest_collection_finish(self) -> None:
        """Keep the garbage collector from scanning the loaded modules and items repeatedly."""
        gc.collect()
        gc.freeze()

    def judge(self, node: pytest.Item, item: Any) -> None:
        """Run an item, attach its verdict to the report, and set the outcome of the test.

        Args:
            node: the running test.
            item: the `conformance.items.planning.Item`.
        """
        from conformance.model.bits import differing_bits
        from conformance.plugin.failure_report import failure_properties, failure_text
        from conformance.reports.results import encode_line
        from conformance.reports.statuses import BAD, is_left_out, is_run_error

        verdict = self.engine.run(item)
        if os.getpid() != self._process:
            os._exit(EXIT_IN_FORK)  # The backend forked pytest, and this is the copy.
        differing = differing_bits(verdict.bits) if self.settings.bitwise else ""
        if differing and verdict.status in ("passed", "known"):
            verdict = replace(verdict, status="failed", message=f"{verdict.id}\n{differing}")
        if verdict.status != "passed":
            verdict = replace(verdict, command=self.command(item))
        if item not in self._items_with_draws:
            verdict = replace(verdict, drawn=None)
        # A string: other objects may end an xdist session with an internal error.
        node.user_properties.append(
            (VERDICT_PROPERTY, encode_line(verdict).decode("utf-8", "surrogatepass"))
        )
        message = bounded(verdict.message or "")
        if verdict.status != "passed":
            node.user_properties += failure_properties(verdict)
        if self.settings.survey and is_left_out(verdict):
            pytest.skip(message)
        if verdict.status in BAD and self.settings.survey and not is_run_error(verdict):
            pytest.xfail(failure_text(verdict))
        if verdict.status in BAD:
            pytest.fail(failure_text(verdict), pytrace=False)
        if verdict.status == "unsupported":
            pytest.skip(f"unsupported: {message}")
        if verdict.status == "known":
            pytest.xfail(message)

    @cached_property
    def _items_with_draws(self) -> set[Any]:
        """The first item of each set with the same cases: only its verdict lists the draws."""
        from conformance.checks import EVERY_CHECK

        first_items: dict[tuple[str, str, bool], Any] = {}
        for item in self.items:
            first_items.setdefault((item.layer, item.dtype, EVERY_CHECK[item.check].invalid), item)
        return set(first_items.values())

    def command(self, item: Any) -> str:
        """The pytest command that repeats an item's verdict."""
        s = self.settings
        facts = {
            "backend": s.backend,
            "layer": item.layer,
            "check": item.check,
            "dtype": item.dtype,
            "device": item.device,
            "examples": s.examples,
            "seed": s.seed,
        }
        if item.samples:
            facts["profile"] = s.profile
        options = [f"--conformance-{name}={value}" for name, value in facts.items()]
        options += ["--conformance-memory-guard"] * (s.memory_guard is not None)
        options += ["--conformance-isolation=sealed"] * (s.isolation == "sealed")
        return shlex.join(["pytest", "--pyargs", "conformance.suite", *options])
