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
from conformance.known.cpu import place_of
from conformance.layers.layer_facts import facts_of_layers, layers_by_family
from conformance.model.case import Examples, Verdict
from conformance.model.files import write_whole
from conformance.model.finding import Finding
from conformance.model.plain_text import bounded
from conformance.plugin.failure_report import readable
from conformance.plugin.shared import KEY, TIMED
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
from conformance.run.machine import machine, now

if TYPE_CHECKING:
    from conformance.items.planning import Item
    from conformance.plugin.shared import SessionLike

_TO_THE_END = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
_ITEM = re.compile(r"::test_layer\[(?P<id>.+)\]$")


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
        carried = report.user_properties
        # The report of the teardown repeats the properties of the call.
        report.user_properties = readable(carried)
        if report.when != "call":
            return
        match = _ITEM.search(report.nodeid)
        if match is not None and all(key != KEY for key, _ in carried):
            # An item without a verdict did not pass, whatever outcome pytest reports.
            told = report.longreprtext or report.outcome
            says = bounded(f"the suite's own code failed:\n{told}")
            self._crashed(match["id"], Finding("internal", says=says))
        for key, value in carried:
            if key == KEY:
                self.nodes.add(report.nodeid)
                self._take(str(value))
            elif key == TIMED:
                self.append(msgspec.json.decode(str(value)))

    def _take(self, line: str) -> None:
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
        match = _ITEM.search(crashitem)
        if match is not None:
            died = "the worker process died while it ran this item"
            # Without isolation the backend runs in the worker, and may have ended it.
            kind = "internal" if self.session.plan.isolated else "lost"
            self._crashed(match["id"], Finding(kind, "crashed", says=died))

    def _crashed(self, id: str, failure: Finding) -> None:
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
        self._put(encode_line(verdict))

    def append(self, line: dict[str, Any]) -> None:
        """Keep a line about benchmarks and write it out at once."""
        self.benchmarks.append(line)
        self._run = None
        self._put(msgspec.json.encode(line) + b"\n")

    def _put(self, line: bytes) -> None:
        """Write a line to the results file; after a failed write, write nothing more."""
        if self.writer is None:
            return
        try:
            self.writer.append(line)
        except OSError as error:
            self._lose(str(error))

    def _lose(self, problem: str) -> None:
        """Note that the results file is lost, and write nothing more to it."""
        self.trouble.append(f"results: {problem}")
        writer, self.writer = self.writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()

    def _close(self) -> None:
        """Finish and close the results file, unless somebody removed or replaced it."""
        path, writer = self.session.settings.results, self.writer
        if writer is None or path is None:
            return
        try:
            gone = writer.problem()
            if gone:
                self._lose(f"{path}: {gone}")
                return
            if self.footer is not None:
                writer.write(self.footer)
            writer.close()
            if self.footer is not None and _chosen_by_pytest(self.session.config):
                write_run(path, self.run())
            self.written["results"] = path
        except OSError as error:
            self._lose(f"{path}: {error.strerror or error}")

    def run(self) -> Run:
        """Return the run so far: the same object until another line is recorded."""
        if self._run is None:
            lines = self.benchmarks
            timed = tuple(line for line in lines if line["kind"] == "benchmark")
            timing = tuple(line for line in lines if line["kind"] == "timing")
            self._run = Run(
                self.identity, tuple(self.verdicts), self.footer, benchmarks=timed, timing=timing
            )
        return self._run

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Finish the files, and fail a session whose run is not conformant."""
        self.session.benchmarks.finish(session)
        done = {verdict.id for verdict in self.verdicts}
        if session.exitstatus in _TO_THE_END and _chosen_by_pytest(session.config):
            # `-k`, `--lf` and single ids leave items out: the run consists of the judged items.
            items = tuple(id for id in self.identity.items if id in done)
            whole = self.identity.shard == "1/1"
            total = len(items) if whole else self.identity.total
            # A standard fixes its items: a run of fewer items does not show the standard.
            standard = self.identity.standard if items == self.identity.items else ""
            self.identity = replace(self.identity, items=items, total=total, standard=standard)
            self._run = None
        if (self.verdicts or self.benchmarks) and done >= set(self.identity.items):
            self.footer = Footer(
                counts=summary.counts(self.run()),
                verdicts=len(self.verdicts),
                seconds=round(time.perf_counter() - self.started, 3),
                finished=now(),
            )
            self._run = None
        self._close()
        if self.verdicts or self.benchmarks:
            self._write_pages()
        if self.trouble and session.exitstatus in (
            *_TO_THE_END,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            # A user whose file could not be written must not take the run for a success.
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        finished = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if self.verdicts and session.exitstatus in finished and not summary.ok(self.run()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        # pytest writes the terminal's summary inside this yield.
        return (yield)

    def _write_pages(self) -> None:
        settings = self.session.settings
        if settings.report is not None:
            from conformance.reports import html

            name = str(settings.results) if settings.results else "RESULTS"
            self._write("report", settings.report, lambda: html.render(self.run(), results=name))
        if settings.summary is not None:
            from conformance.reports.markdown import markdown

            self._write("summary", settings.summary, lambda: markdown(self.run()))

    def _write(self, what: str, path: Path, text: Callable[[], str]) -> None:
        try:
            write_whole(path, text())
        except OSError as error:
            self.trouble.append(f"{what}: {path}: {error.strerror or error}")
        else:
            self.written[what] = path


def _chosen_by_pytest(config: pytest.Config) -> bool:
    """Whether pytest's own options leave items out."""
    option = config.option
    named = any("::" in argument for argument in config.args)
    return bool(named or option.keyword or option.markexpr or getattr(option, "lf", False))


def _identity(session: SessionLike) -> Identity:
    from conformance.generation.provider import drawn_otherwise

    settings = session.settings
    return Identity(
        schema=SCHEMA,
        suite=__version__,
        backend=session.plan.backend,
        info=session.plan.info,
        **machine(),
        devices=session.plan.devices,
        dtypes=settings.dtypes,
        profile=settings.profile,
        seed=settings.seed,
        examples=settings.examples,
        shard=f"{settings.shard[0]}/{settings.shard[1]}",
        options={
            **settings.given,
            "workers": _workers(session.config),
            "values of each structure": str(session.plan.values),
            **({} if session.plan.budget is None else {"budget": session.plan.budget}),
        },
        items=tuple(item.id for item in session.items),
        total=session.plan.total if session.items or session.plan.items == () else 0,
        git=_git(),
        started=now(),
        numerics=session.plan.numerics,
        layers=facts_of_layers(item.layer for item in session.items),
        catalogue=layers_by_family(),
        standard=settings.standard,
        drawn=drawn_otherwise(),
        places={
            device: place_of(session.plan.backend, session.plan.info, device)
            for device in session.plan.devices
        },
        survey=settings.survey,
    )


def _workers(config: pytest.Config) -> str:
    return str(getattr(config.option, "numprocesses", None) or 0)


def _git() -> dict[str, str] | None:
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
