"""The controller's side: it writes the verdicts to the results file, the report and the summary."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from conformance import __version__
from conformance.known.cpu import describe_place
from conformance.layers.layer_facts import facts_of_layers, layers_by_family
from conformance.model.case import Examples, Verdict
from conformance.model.files import write_atomically
from conformance.model.finding import Finding
from conformance.model.plain_text import bounded
from conformance.plugin.failure_report import readable_properties
from conformance.plugin.shared import BENCHMARK_PROPERTY, VERDICT_PROPERTY
from conformance.reports import summary
from conformance.reports.results import (
    SCHEMA,
    Footer,
    Identity,
    Run,
    Writer,
    encode_line,
    parse_verdict,
)
from conformance.reports.results import write as write_run
from conformance.run.machine import current_time, machine_facts

if TYPE_CHECKING:
    from conformance.items.planning import Item
    from conformance.plugin.shared import SessionLike

_COMPLETED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
_ITEM_NODE = re.compile(r"::test_layer\[(?P<id>.+)\]$")


class Recorder:
    """Collects the verdicts of all workers.

    Args:
        session: the suite's session on the controller.
    """

    def __init__(self, session: SessionLike) -> None:
        self.session = session
        self.started = time.perf_counter()
        self.verdicts: list[Verdict] = []
        self.bad = 0
        self._run: Run | None = None
        self.footer: Footer | None = None
        self.identity = _identity(session)
        self.writer: Writer | None = None
        self.trouble: list[str] = []
        self.written: dict[str, Path] = {}
        self.benchmarks: list[dict[str, Any]] = []
        self.nodes: set[str] = set()

    def pytest_sessionstart(self) -> None:
        """Open the results file, and write the run's identity as its first line."""
        self.session.benchmarks.started()
        path = self.session.settings.results
        if path is None:
            return
        try:
            self.writer = Writer(path)
            self.writer.write(self.identity)
        except OSError as error:
            reason = error.strerror or error
            raise pytest.UsageError(f"--conformance-results={path}: {reason}") from error

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the verdict that a report carries, before other plug-ins read the report."""
        properties = report.user_properties
        # The report of the teardown repeats the properties of the call.
        report.user_properties = readable_properties(properties)
        if report.when != "call":
            return
        match = _ITEM_NODE.search(report.nodeid)
        if match is not None and all(key != VERDICT_PROPERTY for key, _ in properties):
            # An item without a verdict did not pass, whatever outcome pytest reports.
            report_text = report.longreprtext or report.outcome
            message = bounded(f"the suite's own code failed:\n{report_text}")
            self._record_crash(match["id"], Finding("internal", says=message))
        for key, value in properties:
            if key == VERDICT_PROPERTY:
                self.nodes.add(report.nodeid)
                self._record_line(str(value))
            elif key == BENCHMARK_PROPERTY:
                self.append(msgspec.json.decode(str(value)))

    def _record_line(self, line: str) -> None:
        """Record a worker's verdict. Report an invalid line; its item stays missing."""
        try:
            verdict = parse_verdict(line.encode("utf-8", "surrogatepass"))
        except ValueError as error:
            self.trouble.append(f"verdict: {bounded(str(error), 500)}")
        else:
            self.record(verdict)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Record a verdict for the item that a worker was running when it died."""
        match = _ITEM_NODE.search(crashitem)
        if match is not None:
            message = "the worker process died while it ran this item"
            # Without isolation the backend runs in the worker, and may have ended it.
            kind = "internal" if self.session.plan.isolated else "lost"
            self._record_crash(match["id"], Finding(kind, "crashed", says=message))

    def _record_crash(self, id: str, failure: Finding) -> None:
        """Record that an item ended without a verdict of its own."""
        item = self._items.get(id)
        if item is not None:
            self.record(
                Verdict(
                    item.id, item.layer, item.check, item.dtype, item.device, "crashed",
                    Examples(), message=failure.says, failure=failure,
                    command=self.session.command(item),
                )
            )  # fmt: skip

    @cached_property
    def _items(self) -> dict[str, Item]:
        return {item.id: item for item in self.session.items}

    def record(self, verdict: Verdict) -> None:
        """Keep a verdict and write it out at once."""
        self.verdicts.append(verdict)
        self.bad += verdict.status in summary.BAD
        self._run = None
        self._write_line(encode_line(verdict))

    def append(self, line: dict[str, Any]) -> None:
        """Keep a line about benchmarks and write it out at once."""
        self.benchmarks.append(line)
        self._run = None
        self._write_line(msgspec.json.encode(line) + b"\n")

    def _write_line(self, line: bytes) -> None:
        """Write a line to the results file; after a failed write, write nothing more."""
        if self.writer is None:
            return
        try:
            self.writer.append(line)
        except OSError as error:
            self._abandon_results(str(error))

    def _abandon_results(self, problem: str) -> None:
        """Note that the results file is lost, and write nothing more to it."""
        self.trouble.append(f"results: {problem}")
        writer, self.writer = self.writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()

    def _close_results(self) -> None:
        """Finish and close the results file, unless somebody removed or replaced it."""
        path, writer = self.session.settings.results, self.writer
        if writer is None or path is None:
            return
        try:
            problem = writer.problem()
            if problem:
                self._abandon_results(f"{path}: {problem}")
                return
            if self.footer is not None:
                writer.write(self.footer)
            writer.close()
            if self.footer is not None and _is_narrowed_by_pytest(self.session.config):
                write_run(path, self.run())
            self.written["results"] = path
        except OSError as error:
            self._abandon_results(f"{path}: {error.strerror or error}")

    def run(self) -> Run:
        """Return the run so far: the same object until another line is recorded."""
        if self._run is None:
            lines = self.benchmarks
            benchmark_lines = tuple(line for line in lines if line["kind"] == "benchmark")
            timing_lines = tuple(line for line in lines if line["kind"] == "timing")
            self._run = Run(
                self.identity,
                tuple(self.verdicts),
                self.footer,
                benchmarks=benchmark_lines,
                timing=timing_lines,
            )
        return self._run

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Finish the files, and fail a session whose run is not conformant."""
        self.session.benchmarks.finish(session)
        judged_ids = {verdict.id for verdict in self.verdicts}
        if session.exitstatus in _COMPLETED and _is_narrowed_by_pytest(session.config):
            # `-k`, `--lf` and single ids leave items out: the run consists of the judged items.
            items = tuple(id for id in self.identity.items if id in judged_ids)
            is_unsharded = self.identity.shard == "1/1"
            total = len(items) if is_unsharded else self.identity.total
            # A standard fixes its items: a run of fewer items does not show the standard.
            standard = self.identity.standard if items == self.identity.items else ""
            self.identity = replace(self.identity, items=items, total=total, standard=standard)
            self._run = None
        is_empty_shard = not self.identity.items and self.identity.shard != "1/1"
        has_lines = self.verdicts or self.benchmarks or is_empty_shard
        if has_lines and judged_ids >= set(self.identity.items):
            self.footer = Footer(
                counts=summary.count_statuses(self.run()),
                verdicts=len(self.verdicts),
                seconds=round(time.perf_counter() - self.started, 3),
                finished=current_time(),
            )
            self._run = None
        self._close_results()
        if self.verdicts or self.benchmarks:
            self._write_pages()
        if self.trouble and session.exitstatus in (
            *_COMPLETED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            # A user whose file could not be written must not take the run for a success.
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        finished = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.verdicts and session.exitstatus in finished and not summary.is_ok(self.run()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        # pytest writes the terminal's summary inside this yield.
        return (yield)

    def _write_pages(self) -> None:
        settings = self.session.settings
        name = str(settings.results) if settings.results else "RESULTS"
        if settings.report is not None:
            from conformance.reports import html

            self._write_page(
                "report", settings.report, lambda: html.render(self.run(), results=name)
            )
        if settings.summary is not None:
            from conformance.reports.markdown import markdown

            self._write_page(
                "summary", settings.summary, lambda: markdown(self.run(), results=name)
            )

    def _write_page(self, kind: str, path: Path, text: Callable[[], str]) -> None:
        try:
            write_atomically(path, text())
        except OSError as error:
            self.trouble.append(f"{kind}: {path}: {error.strerror or error}")
        else:
            self.written[kind] = path


def _is_narrowed_by_pytest(config: pytest.Config) -> bool:
    """Whether pytest's own options leave items out."""
    option = config.option
    names_tests = any("::" in argument for argument in config.args)
    return bool(names_tests or option.keyword or option.markexpr or getattr(option, "lf", False))


def _identity(session: SessionLike) -> Identity:
    from conformance.generation.provider import describe_other_drawing

    settings = session.settings
    return Identity(
        schema=SCHEMA,
        suite=__version__,
        backend=session.plan.backend,
        info=session.plan.info,
        **machine_facts(),
        devices=session.plan.devices,
        dtypes=settings.dtypes,
        profile=settings.profile,
        seed=settings.seed,
        examples=settings.examples,
        shard=f"{settings.shard[0]}/{settings.shard[1]}",
        options={
            **settings.given_options,
            "workers": _worker_count(session.config),
            "values of each structure": str(session.plan.values),
            **({} if session.plan.budget is None else {"budget": session.plan.budget}),
        },
        items=tuple(item.id for item in session.items),
        total=session.plan.total if session.items or session.plan.items == () else 0,
        git=_git_facts(),
        started=current_time(),
        numerics=session.plan.numerics,
        layers=facts_of_layers(item.layer for item in session.items),
        catalogue=layers_by_family(),
        standard=settings.standard,
        drawn=describe_other_drawing(),
        places={
            device: describe_place(session.plan.backend, session.plan.info, device)
            for device in session.plan.devices
        },
        survey=settings.survey,
    )


def _worker_count(config: pytest.Config) -> str:
    return str(getattr(config.option, "numprocesses", None) or 0)


def _git_facts() -> dict[str, str] | None:
    """Commit of the working directory; None if it is not a git checkout or git is missing."""
    try:
        commit, status = (
            subprocess.run(
                ["git", *arguments], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "uncommitted changes": "yes" if status else "no"}
