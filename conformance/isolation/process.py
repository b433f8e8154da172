"""The parent's side of a child process: requests, time limits, and how the process ended."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import msgspec

from conformance.backends.poison import poisoned
from conformance.isolation.guard_library import preloaded
from conformance.isolation.handshake import Answer, StartRequest
from conformance.isolation.journal import SCRIPT_FILE, STEP_FILE, TIMED_PHASES, Entry, Journal
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.layers.encoding import encode_case
from conformance.model import temp_cleanup
from conformance.model.case import Case
from conformance.model.limits import Limits, keep_to_one_thread
from conformance.model.plain_text import bounded
from conformance.model.protocols import SEALED_PREFIX

POLL_SECONDS = 0.1
MAX_LINE = 200
"""Most characters of each line of the process's last output."""
START_FACTOR, MIN_START_SECONDS = 10, 30.0
"""The start may take this many times the time limit of a case, and at least this many seconds."""
IDLE_SECONDS = 120.0
"""Extra seconds for work outside the backend: loading the base, or waiting for forks."""
FORGED_MESSAGE = (
    "the process that ran the backend wrote to the pipe on which only the suite answers requests"
)
_FRAME = re.compile(r'File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)')
_NOISE = ("Thread ", "  File ", "Extension modules:")


class ChildError(RuntimeError):
    """A child process could not start, or the suite itself failed in it."""


class ChildDied(Exception):  # noqa: N818 - the end of a backend's process is not an error of the suite
    """The child process has ended, or was killed at the time limit.

    Args:
        status: `"crashed"` or `"hung"`.
        cause: what ended the process.
        entry: the last entry of its journal.
        frame: where the process was: `"torch/nn/functional.py:843:max_pool2d"`; empty if unknown.
        step: the current step of the case, and the case that the step was for.
        script: the reproducer up to that step if one was requested, else empty.
        inner_call: the backend's current call inside that step, else empty.
    """

    def __init__(
        self,
        status: str,
        cause: str,
        entry: Entry,
        frame: str = "",
        step: tuple[str, Mapping[str, Any]] | None = None,
        script: str = "",
        inner_call: str = "",
    ) -> None:
        super().__init__(cause)
        self.status, self.cause, self.entry = status, cause, entry
        self.frame, self.step, self.script, self.inner_call = frame, step, script, inner_call


class ForgedAnswer(ChildDied):
    """The process wrote a line that answers no request, so no answer of it can be trusted."""


class Child:
    """A child process that starts at the first request, and again after each end.

    Args:
        backend, examples, seed, known, base: options of the run.
        limits: time limit of a case, and memory limit.
        interrupted: called while waiting; True ends the run as Ctrl-C does.
        guard: the library of the memory guard; None = memory is not guarded.

    Attributes:
        answer_count: how many requests the process has answered since its start.
    """

    def __init__(
        self,
        backend: str,
        examples: int,
        seed: int,
        known: tuple[Path, ...],
        limits: Limits,
        interrupted: Callable[[], bool] = lambda: False,
        base: str = "",
        guard: Path | None = None,
    ) -> None:
        self._interrupted = interrupted
        self._run_options = (backend, examples, seed, tuple(map(str, known)), base)
        self.limits, self._guard = limits, guard
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._resident_at_start = 0
        self._copies_fail = False
        self.answer_count = 0

    def start(self) -> None:
        """Start the process without waiting until it is ready."""
        self._errors = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - `stop` closes it
        # The backend of a sealed run computes in the sealed process, which has poisoned memory.
        is_sealed = self._run_options[0].startswith(SEALED_PREFIX)
        environment = dict(os.environ) if is_sealed else poisoned(os.environ)
        keep_to_one_thread(environment)
        if self._guard is not None:
            environment = preloaded(environment, self._guard)
        self._process = subprocess.Popen(
            # -P: modules in the working directory must not shadow those of the library.
            [sys.executable, "-P", "-m", "conformance.isolation.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            # Only pytest handles Ctrl-C; the child ends when its standard input ends.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(
            target=_read_lines, args=(self._process.stdout, self._answers), daemon=True
        )
        self._reader.start()
        self._is_ready, self._errors_start = False, 0
        # Create the folder last: if this process is killed, the child removes the folder.
        self._folder = tempfile.TemporaryDirectory(prefix="conformance-")
        folder = Path(self._folder.name)
        temp_cleanup.write_owner(folder)
        self._journal = Journal(folder / "journal")
        facts = (
            str(folder / "journal"), tuple(sys.path), self.limits.memory, self._copies_fail,
            self._guard is not None,
        )  # fmt: skip
        self._request_id = _token()
        self._send(StartRequest(*self._run_options, *facts, self._request_id))

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request of the form that `child` documents, and wait for the answer.

        Raises:
            Died: if the process ends, or a case exceeds the time limit.
            ChildError: if the process cannot start, or cannot load the backend.
        """
        if self._process is None:
            self.start()
        if not self._is_ready:
            try:
                problem = self._wait_for_answer(start_seconds(self.limits.seconds)).get("error")
            except ChildDied as died:
                raise ChildError(f"the backend's process did not start: {died.cause}") from died
            if problem:
                self.stop()
                raise ChildError(problem)
            self._is_ready = True
            self._resident_at_start = self._resident()
        self._errors_start = os.fstat(self._errors.fileno()).st_size
        self._request_id = _token()
        self._send({**request, "id": self._request_id})
        answer = self._wait_for_answer(self.limits.seconds)
        self.answer_count += 1
        return answer

    def outcome(self, item: Item, case: Case, **options: Any) -> Outcome:
        """Run one check on one case; the status is `"unknown"` if the suite itself fails.

        Args:
            options: further options of the request: `fork`, `base`, `due`.

        Raises:
            Died, ChildError: see `ask`.
        """
        answer = self.ask({"item": asdict(item), "case": encode_case(case), **options})
        fields = {"status": "unknown", "message": answer.get("raised", ""), **answer}
        return msgspec.convert(fields, Outcome, strict=False)

    def script(self, item: Item, case: Case, message: str, *, ends_process: bool) -> str | None:
        """Request the reproducer of a case; None if none can be written.

        Args:
            message: the failure, which the script quotes.
            ends_process: whether the case ends the process.

        Raises:
            ChildError: see `ask`.
        """
        request = {"item": asdict(item), "case": encode_case(case)}
        try:
            return self.ask({**request, "script": message, "deadly": ends_process}).get("script")
        except ChildDied as died:
            return died.script or None

    def memory_growth(self) -> int:
        """Bytes by which the process's memory has grown since it was ready; 0 if unknown."""
        return self._resident() - self._resident_at_start if self.answer_count else 0

    def _resident(self) -> int:
        assert self._process is not None
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0

    def _send(self, request: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # If the process has ended, waiting for its answer reports that.
        with contextlib.suppress(OSError):
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()

    def _wait_for_answer(self, seconds: float) -> dict[str, Any]:
        """Wait for the answer to the last request.

        Args:
            seconds: time limit without a new entry in the journal. In phases in which the backend
                does not run, the limit is `IDLE_SECONDS` longer.

        Raises:
            Died: if the process ends, exceeds the limit, or writes something else.
        """
        last_entry, since = self._journal.read(), time.monotonic()
        while True:
            try:
                line = self._answers.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if self._interrupted():
                    raise KeyboardInterrupt from None
                entry = self._journal.read()
                if entry.count != last_entry.count:
                    last_entry, since = entry, time.monotonic()
                limit = (
                    seconds
                    if entry.phase in TIMED_PHASES or not self._is_ready
                    else seconds + IDLE_SECONDS
                )
                if entry.phase != "drawing" and time.monotonic() - since > limit:
                    raise self._describe_death("hung", f"no answer within {limit:g} s") from None
                continue
            if line is None:
                raise self._describe_death("crashed", "")
            try:
                answer = msgspec.json.decode(line, type=Answer)
            except (msgspec.DecodeError, UnicodeDecodeError):
                answer = Answer("", {})
            if answer.id != self._request_id:
                died = self._describe_death("crashed", FORGED_MESSAGE)
                raise ForgedAnswer(died.status, died.cause, died.entry)
            return answer.answer

    def _describe_death(self, status: str, cause: str) -> ChildDied:
        assert self._process is not None
        if cause:
            kill(self._process)  # it still runs
        code = self._process.wait()
        entry, script = self._journal.read(), self._read_script()
        step, inner_call = self._read_step()
        printed, frames = self._last_output()
        self.stop()
        frame = next((f for f in frames if not _is_own(f)), "")
        lines = [*printed, *frames[:3]]
        message = (cause or exit_text(code)) + "".join(f"\n  {line}" for line in lines)
        return ChildDied(status, message, entry, frame, step, script, inner_call)

    def _read_step(self) -> tuple[tuple[str, Mapping[str, Any]] | None, str]:
        """The current step with its case, and the call inside it; None unless a single case ran."""
        try:
            step = msgspec.json.decode((Path(self._folder.name) / STEP_FILE).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None, ""
        return (step["step"], step["case"]), bounded(step["within"], MAX_LINE)

    def _read_script(self) -> str:
        try:
            return (Path(self._folder.name) / SCRIPT_FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def _last_output(self) -> tuple[list[str], list[str]]:
        """The last lines that the process printed, and its stack frames, innermost first."""
        self._errors.seek(self._errors_start)
        text = self._errors.read(1 << 20).decode("utf-8", "replace")
        # faulthandler wrote this; stacks of other threads are of no use.
        printed, _, stack = text.partition("Current thread")
        lines = [
            printed_line.strip()
            for printed_line in printed.splitlines()
            if printed_line.strip() and not printed_line.startswith(_NOISE)
        ]
        frames = list[str]()
        for line in stack.splitlines()[1:]:
            match = _FRAME.search(line)
            if match is None:
                break
            frames.append(f"{_package_path(match['file'])}:{match['line']}:{match['name']}")
        return [bounded(line, MAX_LINE) for line in lines[-8:]], frames

    def stop(self) -> None:
        """Kill the process, and remove its files."""
        if self._process is None:
            return
        kill(self._process)
        self._process.wait()
        self._reader.join(1.0)
        for stream in (self._process.stdin, self._process.stdout):
            # A process that the backend left behind may keep the pipe open, and block the reader.
            if stream is not None and not self._reader.is_alive():
                with contextlib.suppress(OSError):
                    stream.close()
        self._errors.close()
        # A later process need not try again, because a copy that hangs costs seconds.
        self._copies_fail |= self._journal.copies_fail()
        self._journal.close()
        self._folder.cleanup()
        self._process, self.answer_count = None, 0


def start_seconds(seconds: float) -> float:
    """Seconds that a process may take to load a backend, from the time limit of a case.

    Importing a framework takes seconds even if its cases are quick.
    """
    return max(START_FACTOR * seconds, MIN_START_SECONDS)


def _token() -> str:
    """A random id that a backend cannot guess; only the answer to the request has it."""
    return secrets.token_hex(8)


def _is_own(frame: str) -> bool:
    """Whether a frame is in the suite's own code; the modules of its backends do not count."""
    return frame.startswith("conformance/") and not frame.startswith("conformance/backends/")


def _package_path(file: str) -> str:
    """A file's path from its package on, which is the same on every machine."""
    parts = Path(file).parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return "/".join(parts[parts.index(folder) + 1 :])
    start = parts.index("conformance") if "conformance" in parts else max(len(parts) - 2, 0)
    return "/".join(parts[start:])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and the processes in its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def exit_text(code: int) -> str:
    """Describe how the process ended, from its exit status."""
    if code >= 0:
        return f"the process that ran the backend exited with status {code}"
    try:
        name = f"{signal.Signals(-code).name} (signal {-code})"
    except ValueError:
        name = f"signal {-code}"
    memory = ", perhaps for want of memory" if -code == 9 else ""
    return f"the process that ran the backend was ended by {name}{memory}"


def _read_lines(source: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    """Put the lines of a pipe into a queue as they arrive, and None at its end."""
    with contextlib.suppress(ValueError, OSError):
        for line in source:
            lines.put(line)
    lines.put(None)
