"""Runs tests that call torch on drawn cases in a fork of pytest's process: a crash costs one test.

A call of torch may end its process, or damage its heap so that a later call ends it. Tests in
`tests/layers`, and those marked `in_fork`, run one after the other in one fork, from set-up to
tear-down, which sends their reports back. A test in which the fork dies runs again in a new one.
If that dies too, the test fails; otherwise the second run counts, with a warning.

Without `os.fork`, on macOS (whose frameworks do not survive it) and under a debugger all tests run
in pytest's process.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import IO, Any, NoReturn

import pytest

from conformance.backends import confinement

FORKS = hasattr(os, "fork") and sys.platform != "darwin"


class DiedInTestWarning(pytest.PytestWarning):
    """The fork died in a test that passes in a new one."""


def is_forked(item: pytest.Item) -> bool:
    """Whether a test runs in a fork."""
    is_debugged = item.config.getoption("usepdb") or item.config.getoption("trace")
    calls_torch = (
        item.path.parent.name == "layers" or item.get_closest_marker("in_fork") is not None
    )
    return FORKS and calls_torch and not is_debugged


class EndedError(Exception):
    """A function ended its process; the argument is the exit status, or minus a signal's number."""


def call_in_fork(function: Callable[[], Any]) -> Any:
    """Call a function in a fork, and return its result; its side effects end with the fork.

    Raises:
        RuntimeError: if it raises, with its traceback.
        EndedError: if it ends the process.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reader)
        gc.freeze()
        try:
            try:
                answer = True, function()
            except BaseException:
                answer = False, traceback.format_exc()
            with os.fdopen(writer, "wb") as file:
                pickle.dump(answer, file)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not data:
        raise EndedError(status)
    returned, answer = pickle.loads(data)
    if not returned:
        raise RuntimeError(answer)
    return answer


class _ReportRecorder:
    """Collects a test's reports, and its warnings as arguments of `warn_explicit`."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.reports: list[dict[str, Any]] = []
        self.recorded_warnings: list[tuple[str, type[Warning], str, int]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        serialize = self._config.hook.pytest_report_to_serializable
        self.reports.append(serialize(config=self._config, report=report))

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Keep a warning."""
        warning = warning_message
        self.recorded_warnings.append(
            (str(warning.message), warning.category, warning.filename, warning.lineno)
        )


def _send(connection: IO[bytes], message: Any) -> None:
    pickle.dump(message, connection)
    connection.flush()


class Fork:
    """A fork of this process, which runs tests of a session one after the other."""

    def __init__(self, session: pytest.Session) -> None:
        own_end, theirs = socket.socketpair()
        self.tests = 0
        with warnings.catch_warnings():
            # The warning about threads: they belong to xdist, which the fork does not need.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            own_end.close()
            confinement.end_with_parent()
            _serve_tests(session, theirs)
        theirs.close()
        self._connection = own_end.makefile("rwb")
        own_end.close()

    def run(self, index: int, next_index: int | None) -> dict[str, Any] | None:
        """Reports and warnings of the test at an index of `session.items`; None if it dies."""
        self.tests += 1
        try:
            _send(self._connection, (index, next_index))
            return pickle.load(self._connection)
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            return None

    def end(self) -> int:
        """End the fork: its exit status, or minus the number of the signal that ended it."""
        self._connection.close()
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _serve_tests(session: pytest.Session, connection: socket.socket) -> NoReturn:
    """Run requested tests until the connection ends."""
    gc.freeze()  # The collector would write to, and so copy, every page.
    hook, recorder = session.config.hook, _ReportRecorder(session.config)
    for hook_caller in (
        hook.pytest_runtest_logstart, hook.pytest_runtest_logreport,
        hook.pytest_runtest_logfinish, hook.pytest_warning_recorded,
    ):  # fmt: skip
        for implementation in hook_caller.get_hookimpls():
            hook_caller._remove_plugin(implementation.plugin)
    session.config.pluginmanager.unregister(name=Plugin.NAME)
    session.config.pluginmanager.register(recorder)
    # pytest replays warnings of earlier tests to every new plug-in.
    recorder.recorded_warnings = []
    file = connection.makefile("rwb")
    try:
        while True:
            try:
                index, next_index = pickle.load(file)
            except EOFError:
                os._exit(0)
            item = session.items[index]
            nextitem = None if next_index is None else session.items[next_index]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            _send(file, {"reports": recorder.reports, "warned": recorder.recorded_warnings})
            recorder.reports, recorder.recorded_warnings = [], []
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _start_autograd() -> None:
    """Run autograd once, which starts a thread for each device that torch has by then.

    A build for CUDA has a fake device from the first fake tensor on. With a thread for that, forks
    could not differentiate.
    """
    import torch

    torch.ones(1, requires_grad=True).sum().backward()


class Plugin:
    """Runs tests in forks, and reports them as if they ran here."""

    NAME = "forked"

    def __init__(self) -> None:
        if FORKS:
            _start_autograd()
        self._fork: Fork | None = None
        self._indices: dict[pytest.Item, int] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Any:
        """Run one test that calls torch."""
        if not is_forked(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._run_in_fork(item, nextitem):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        # Tear down what the previous test left set up for this one.
        item.session._setupstate.teardown_exact(nextitem)
        if nextitem is None or not is_forked(nextitem):
            self._end_fork()
        return True

    def pytest_sessionfinish(self) -> None:
        """End the fork where a session stops early."""
        self._end_fork()

    def _run_in_fork(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> list[pytest.TestReport]:
        deaths: list[str] = []
        while True:
            fork = self._fork = self._fork or Fork(item.session)
            answer = fork.run(self._index_of(item), nextitem and self._index_of(nextitem))
            if answer is not None:
                break
            deaths.append(_describe_end(self._end_fork()))
            if fork.tests == 1:
                deaths_text = ", a new one ".join(deaths)
                return [_failed_report(item, f"its process {deaths_text}")]
        for warning in answer["warned"]:
            warnings.warn_explicit(*warning)
        if deaths:
            item.warn(
                DiedInTestWarning(f"its process {deaths[0]}; in a new one the test is as reported")
            )
        from_serializable = item.config.hook.pytest_report_from_serializable
        return [from_serializable(config=item.config, data=data) for data in answer["reports"]]

    def _index_of(self, item: pytest.Item) -> int:
        if not self._indices:
            self._indices = {
                listed_item: index for index, listed_item in enumerate(item.session.items)
            }
        return self._indices[item]

    def _end_fork(self) -> int:
        fork, self._fork = self._fork, None
        return 0 if fork is None else fork.end()


def _describe_end(status: int) -> str:
    """How a fork ended, in words."""
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"exited with {status}"


def _failed_report(item: pytest.Item, message: str) -> pytest.TestReport:
    call = pytest.CallInfo.from_call(lambda: pytest.fail(message, pytrace=False), when="call")
    return pytest.TestReport.from_item_and_call(item, call)
