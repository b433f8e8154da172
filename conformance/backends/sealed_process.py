"""The judge's side of a sealed process: start, requests, and how it ends."""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.backends import confinement
from conformance.backends.foreign_calls import HOOKS
from conformance.backends.guard import BackendError
from conformance.backends.poison import poisoned
from conformance.backends.process_activity import list_descendants, process_name, read_activity
from conformance.backends.sealed_exceptions import rebuild_exception
from conformance.backends.sealed_messages import (
    FACT_MEMBERS,
    MAX_PIECE,
    Answer,
    AnswerDecoder,
    FirstRead,
    LateError,
    Pipe,
    Request,
    SealedError,
    encode_request,
    encode_requests,
    find_object,
)
from conformance.backends.watch import RUNS
from conformance.model.breaches import KINDS, LIVES_ON, TAMPERS
from conformance.model.limits import keep_to_one_thread
from conformance.model.plain_text import bounded
from conformance.model.temp_cleanup import PREFIX, write_owner

HIDDEN_PREFIXES = ("CONFORMANCE_", "PYTEST_", "HYPOTHESIS_")
"""Environment variables that a sealed process does not get."""
FOLDER_VARIABLES = (
    "TMPDIR", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR",
    "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR", "CUDA_CACHE_PATH",
)  # fmt: skip
"""Environment variables that name a folder to write in: the process gets its own."""
LOAD_SECONDS, END_SECONDS = 120.0, 10.0
"""Seconds by which loading a backend may take longer than a request, and in which a process that
has closed its pipe must end."""
CLOSED_REPORTS = (TAMPERS, "closes the pipe of the reports about it")
MAX_REPORT = 1 << 22
"""Most bytes of reports that are read after a call."""
IDLE_SECONDS, MAX_IDLE_SHARE, MAX_IDLE_RUNS = 0.01, 0.2, 2
"""How long an idle process is watched, the share of this that it may compute, and how often."""
SECONDS_BETWEEN_WATCHES = 0.25
ALWAYS_READ_AGAIN, READ_AGAIN_ONE_IN = 16, 16
"""So many outputs are read again when they are compared; then one in so many, at random.

Reading costs as much as a small call, and the code cannot know which are read again."""


class Native:
    """An object of the sealed process.

    Args:
        number: the number under which the process keeps it.
        dropped: the list to which the number goes when nobody here holds the object any more.
    """

    __slots__ = ("__weakref__", "_dropped", "_number")

    def __init__(self, number: int, dropped: list[int]) -> None:
        self._number, self._dropped = number, dropped

    def sealed_number(self) -> int:
        """The number under which the process keeps the object."""
        return self._number

    def __reduce__(self) -> Any:
        return find_object, (self._number,)

    def __del__(self) -> None:
        self._dropped.append(self._number)


class SealedProcess:
    """A sealed process that serves one client; it starts at the first request.

    Args:
        backend: name under which the process loads the backend.
        seconds: time limit of a request; None = no limit.

    Attributes:
        means: what the process is left with, see `confinement.MEANS`.
        operators: names of torch's operators that it has reported to run, in their order.
    """

    def __init__(self, backend: str, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.backend, self.means = backend, ""
        self.operators: dict[str, None] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._owner, self._lock = 0, threading.RLock()
        self._watched, self._own_processes = 0.0, list[int]()
        self._decoder = AnswerDecoder(self.native)
        self._ends: list[int | None] = []
        self._forget()

    def _forget(self) -> None:
        """Forget the objects of an earlier process."""
        self._natives: weakref.WeakValueDictionary[int, Native] = weakref.WeakValueDictionary()
        self._dropped: list[int] = []
        self._first_reads: Mapping[int, FirstRead] = {}
        self._taken, self._read_count = set[int](), 0
        self._noted: list[tuple[str, str]] = []
        self._queued, self._queued_count = list[bytes](), 0

    def queue(self, target: int, member: str, *arguments: Any, **keywords: Any) -> Native:
        """Call a method together with the next request; its result.

        A request costs more than most of what is asked for. What the backend raises is raised by
        the request that uses the result.
        """
        with self._lock:
            self.start()
            self._queued_count += 1
            number = -self._queued_count
            request = Request("call", target, member, arguments, keywords, number=number)
            self._queued.append(encode_request(request))
            return self.native(number)

    def call(
        self, target: int, member: str, *arguments: Any, describes: bool = False, **keywords: Any
    ) -> Answer:
        """Call a method.

        Args:
            target: number of the object; 0 is the backend.
            describes: see `Request`.

        Raises:
            BaseException: what stands for the exception that the backend raised.
            SealedError: if the process answers something that is no answer.
        """
        return self._ask(Request("call", target, member, arguments, keywords, describes=describes))

    def describe(self, target: int) -> Any:
        """The `LayerReference` of a layer; None if it could not be built."""
        return self._answer(Request("describe", target, "")).value

    def batch(self, target: int, member: str, batch: Sequence[Any]) -> Answer:
        """Call a method once for each element of a batch, in one request of their own."""
        if self._queued:
            # These calls are timed: what is queued must not run together with them.
            self.read(0, "name")
        return self._ask(Request("batch", target, member, tuple(batch)))

    def read(self, target: int, member: str) -> Any:
        """Read a member."""
        return self._ask(Request("read", target, member)).value

    def native(self, number: int) -> Native:
        """What stands for an object of the process; the same object while anyone holds it."""
        native = self._natives.get(number)
        if native is None:
            native = self._natives[number] = Native(number, self._dropped)
            if number in self._dropped:
                self._dropped.remove(number)
        return native

    def note_computed(self, outputs: Mapping[int, FirstRead]) -> None:
        """Remember what was read of the outputs of the last computation."""
        self._first_reads, self._taken = outputs, set()

    def first_read(self, native: Any) -> FirstRead | None:
        """What was read of a native right after a call; None if something ran since."""
        return self._first_reads.get(native.sealed_number()) if type(native) is Native else None

    def reads_again(self, native: Native, first: FirstRead) -> bool:
        """Whether to read a native again, whose numbers were read right after its call.

        Numbers that were taken already are always read again.
        """
        number = native.sealed_number()
        if number in self._taken or first.array is None:
            return True
        self._taken.add(number)
        self._read_count += 1
        return self._read_count <= ALWAYS_READ_AGAIN or secrets.randbelow(READ_AGAIN_ONE_IN) == 0

    @contextlib.contextmanager
    def watch_end(self, seconds: float) -> Iterator[list[int | None]]:
        """Collect the exit status of each end; None for a request that took longer."""
        limit, self.seconds, self._ends = self.seconds, seconds, []
        try:
            yield self._ends
        finally:
            self.seconds = limit

    def note_breach(self, kind: str, text: str) -> None:
        """Note what the code under test did."""
        self._noted.append((kind, text))

    def breaches(self) -> list[tuple[str, str]]:
        """What the code under test did besides computing since the last call of this."""
        noted, self._noted = self._noted, []
        if self._process is None:
            return noted
        breaches = list(dict.fromkeys([*noted, *self._read_reports()]))
        now = time.monotonic()
        if now - self._watched > SECONDS_BETWEEN_WATCHES:
            self._watched = now
            breaches += self._find_left_behind()
            if self._works_while_idle():
                breaches.append((LIVES_ON, "it computes while nothing is asked of it"))
        return breaches

    def _read_reports(self) -> Iterator[tuple[str, str]]:
        text = b""
        with contextlib.suppress(BlockingIOError):
            while len(text) < MAX_REPORT:
                piece = os.read(self._reports, MAX_PIECE)
                if not piece:
                    yield CLOSED_REPORTS
                    break
                text += piece
        for line in text.decode("utf-8", "replace").splitlines():
            kind, _, says = line.partition("\t")
            if kind == RUNS:
                self.operators.setdefault(bounded(says))
            elif kind in KINDS:
                yield kind, bounded(says)

    def _find_left_behind(self) -> Iterator[tuple[str, str]]:
        """Processes that the code under test has started and that still run (Linux)."""
        if self._process is None:
            return
        for process in list_descendants(self._process.pid):
            if process not in self._own_processes:
                yield LIVES_ON, f"the process {process_name(process)} runs after the call"

    def _works_while_idle(self) -> bool:
        # On a busy machine an honest process may still be on its way from an answer to its wait.
        return self._has_computed() and self._has_computed()

    def _has_computed(self) -> bool:
        """Whether the process computes during a moment in which nothing is asked of it."""
        before = [read_activity(process) for process in self._own_processes]
        time.sleep(IDLE_SECONDS)
        after = [read_activity(process) for process in self._own_processes]
        seconds = sum(b[0] - a[0] for a, b in zip(before, after, strict=True))
        runs = sum(b[1] - a[1] for a, b in zip(before, after, strict=True))
        return seconds > MAX_IDLE_SHARE * IDLE_SECONDS or runs > MAX_IDLE_RUNS

    def _read_means(self, deadline: float | None) -> str:
        """What the process is left with, which it says before it loads the code under test."""
        with contextlib.suppress(EOFError):
            return bounded(str(self._decoder.decode(self._pipe.receive(deadline)).value))
        return ""

    def _ask(self, request: Request) -> Answer:
        answer = self._answer(request)
        if answer.raised is not None:
            raise rebuild_exception(answer.raised)
        return answer

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            self.start()
            if request.member not in ("get", *FACT_MEMBERS):
                self._first_reads = {}
            # Others may be dropped in between, by another thread or a collection of garbage.
            dropped = tuple(self._dropped[:])
            del self._dropped[: len(dropped)]
            queued, self._queued = self._queued, []
            last = encode_request(request._replace(dropped=dropped))
            return self._exchange(encode_requests((*queued, last)), self.seconds)

    def _exchange(self, message: bytes, seconds: float | None) -> Answer:
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            # If the process has ended, its missing answer shows that.
            with contextlib.suppress(OSError):
                self._pipe.send(message, deadline)
            answer = self._decoder.decode(self._pipe.receive(deadline))
            if self._hangup.poll(0) and CLOSED_REPORTS not in self._noted:
                self._noted.append(CLOSED_REPORTS)
            return answer
        except (EOFError, OSError):
            code = self._wait_for_end()
            self._ends.append(code)
        except LateError:
            self._ends.append(None)
            self.stop()
            raise
        except SealedError:
            self.stop()
            raise
        if HOOKS.get().expendable:
            # This process exists for the sealed one: ending the same way costs only one verdict.
            sys.stderr.flush()
            confinement.end_as(code)
        self.stop()
        raise SealedError(f"the sealed process ended with status {code}")

    def _wait_for_end(self) -> int:
        """Wait for the end of the process, which has closed its pipe; its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stop(self) -> None:
        """Kill the process, and remove its folder."""
        process, self._process = self._process, None
        noted, is_own = self._noted, self._owner == os.getpid()
        self._forget()
        if process is None or not is_own:
            return
        process.kill()
        process.wait()
        # The pipe ends here, whoever closed it.
        self._noted = [*noted, *(x for x in self._read_reports() if x != CLOSED_REPORTS)]
        os.close(self._reports)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the process if it does not run.

        Raises:
            BackendError: if it cannot load the backend.
        """
        if self._process is not None and self._owner == os.getpid():
            return
        if os.name != "posix":
            raise BackendError("a sealed process needs Linux or macOS")
        # A fork of the client leaves the process and its folder to the original.
        self._owner = os.getpid()
        self._forget()
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        write_owner(self._folder)
        module = "conformance.backends.sealed_worker"
        self._reports, report_end = os.pipe()
        os.set_blocking(self._reports, False)
        self._hangup = select.poll()
        self._hangup.register(self._reports, 0)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(confinement.__file__), str(self._folder), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(self._folder),
            pass_fds=(report_end,),
            # It must not reach a terminal. Where the system does not end it with this process, it
            # stays in the group that is killed.
            start_new_session=sys.platform.startswith("linux"),
            stderr=subprocess.DEVNULL if os.isatty(2) else None,
        )
        os.close(report_end)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipe = Pipe(self._process.stdout.fileno(), self._process.stdin.fileno())
        os.set_blocking(self._process.stdin.fileno(), False)
        self.means = self._read_means(self.seconds and time.monotonic() + LOAD_SECONDS)
        self._own_processes = [self._process.pid, *list_descendants(self._process.pid)]
        try:
            start = pickle.dumps((self.backend, list(sys.path), report_end))
            answer = self._exchange(start, self.seconds and self.seconds + LOAD_SECONDS)
        except SealedError as error:
            raise BackendError(f"backend {self.backend!r}: {error}, while it was loaded") from error
        if answer.value:
            self.stop()
            raise BackendError(str(answer.value))
        self._watched = 0.0


def _environment(folder: Path) -> dict[str, str]:
    """The environment of a sealed process that may write in a folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(HIDDEN_PREFIXES)}
    environment = poisoned(kept | dict.fromkeys(FOLDER_VARIABLES, str(folder)))
    keep_to_one_thread(environment)
    return environment
