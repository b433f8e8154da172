"""The child process: reads requests on standard input, runs them, answers on standard output.

The parent starts it as `python -P -m conformance.isolation.child`. Each line is one JSON object,
and each answer has the `id` of its request. The first request is a `StartRequest`; its answer is
`{}` or `{"error": …}`. Later requests are:

- `{"item": …, "seconds": …}` runs an item within a time budget (null = no limit).
- `{"item": …, "case": …}` runs one case of an item. With `"fork"` a fork runs it, so that this
  process stays unchanged. With `"base"` it runs on the backend's base. With `"due"` it is the
  pinned case of a known failure, and a fork runs it if it should end the process. With `"script"`
  the answer is a reproducer.
- `{"benchmark": …, "set": …}` times a call.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import queue
import select
import shutil
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import msgspec

from conformance.backends import memory_guard
from conformance.backends.foreign_calls import hooks
from conformance.backends.guard import unguarded_backend
from conformance.isolation.handshake import EXIT_IN_FORK, EXIT_PIPE_CLOSED, StartRequest
from conformance.isolation.journal import SCRIPT_FILE, STEP_FILE
from conformance.model.untrusted import is_of_type

if TYPE_CHECKING:
    from conformance.items.forks import RunInFork
    from conformance.items.outcomes import Outcome
    from conformance.items.planning import Item
    from conformance.model.case import Case
    from conformance.timing.measure import Bench


def main() -> None:
    """Answer requests until standard input ends."""
    send_answer = _AnswerPipe()
    # Only pytest handles Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    pipe = _take_requests()
    start = msgspec.json.decode(pipe.readline() or _exit_unstarted(), type=StartRequest)
    # Set the folder before reading ahead, because the parent may have ended already.
    _request_reader.folder = Path(start.journal).parent
    requests = _request_reader(pipe)
    sys.path[:] = list(start.path)
    _limit_memory(start.memory)
    with hooks(expendable=True):
        server = _Server(start)
        send_answer(start.id, msgspec.json.encode({"error": server.error} if server.error else {}))
        while True:
            request = msgspec.json.decode(requests.get())
            send_answer(request["id"], server.answer(request))


def _exit_unstarted() -> NoReturn:
    """End the process, because the parent ended before it sent the first request."""
    os._exit(0)


def _take_requests() -> IO[bytes]:
    """Move standard input to another descriptor, because the backend may read or close it."""
    pipe, null = os.fdopen(os.dup(0), "rb"), os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return pipe


class _AnswerPipe:
    """The pipe to the parent; all other output, also of native code, goes to stderr."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "wb", buffering=0)
        self._process = os.getpid()
        os.dup2(2, 1)

    def __call__(self, id: str, answer: bytes) -> None:
        """Answer one request; a fork that the backend made of this process exits instead."""
        if os.getpid() != self._process:
            os._exit(EXIT_IN_FORK)
        try:
            self._pipe.write(b'{"id":%b,"answer":%b}\n' % (msgspec.json.encode(id), answer))
        except OSError:
            os._exit(EXIT_PIPE_CLOSED)  # the backend closed the pipe, or the parent has ended


class _RequestReader:
    """Reads requests on a thread; the end of the input means that the parent has ended.

    Then this process ends at once, even during a case.

    Attributes:
        folder: the process's temporary folder, which nobody else removes after the parent's end.
    """

    folder: Path | None = None

    def __call__(self, source: IO[bytes]) -> queue.SimpleQueue[bytes]:
        """Start the thread, and return the queue of lines that it reads."""
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def read() -> None:
            with contextlib.suppress(OSError, ValueError):
                for line in source:
                    lines.put(line)
            self._end()

        threading.Thread(target=read, daemon=True).start()
        return lines

    def _end(self) -> None:
        """End this process, and all processes that the backend left in its group."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)


_request_reader = _RequestReader()


def _limit_memory(memory: int | None) -> None:
    """Limit the memory of this process, so that allocations fail before the machine runs out."""
    if memory is None:
        return
    # Windows has no such module, and a lower limit may be set already.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _trim_memory() -> None:
    """Return free memory to the system; glibc keeps it between blocks that are in use."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Server:
    """Loads the backend of the first request, and answers the other requests with an engine."""

    def __init__(self, start: StartRequest) -> None:
        from conformance.backends.guard import BackendError
        from conformance.backends.registry import load
        from conformance.isolation.journal import Journal
        from conformance.items.forks import ExpendableProcess
        from conformance.known.entry import KnownFailureError, load_entries
        from conformance.run.engine import Engine

        self.error, self._layer, self._modules = "", None, 0
        self._frozen_at_most, self._frozen_at_last_look = 0, 0
        self.journal = Journal(Path(start.journal))
        self._step_file = Path(start.journal).with_name(STEP_FILE)
        try:
            backend = load(start.backend)
            known = load_entries(backend.name, [Path(path) for path in start.known], start.base)
        except (BackendError, KnownFailureError) as error:
            self.error = str(error)
            return
        self.engine = Engine(
            backend, start.examples, start.seed, known,
            process=ExpendableProcess(
                self.journal.note,
                None if start.copies_fail else run_in_fork,
                runner_here(backend),
                self.journal.note_copies_fail,
            ),
        )  # fmt: skip
        if start.guard:
            self.error = memory_guard.start_guard()
        gc.collect()
        gc.freeze()
        self._count_frozen()

    def answer(self, request: Mapping[str, Any]) -> bytes:
        """Answer one request; an exception of the suite itself becomes an answer, too."""
        from conformance.items.planning import Item
        from conformance.model.budget import Budget

        try:
            if "benchmark" in request:
                return msgspec.json.encode(self._benchmark(request))
            item = Item(**request["item"])
            if "case" in request:
                return msgspec.json.encode(self._try_case(item, request))
            seconds = request["seconds"]
            self.engine.budget = None if seconds is None else Budget(seconds)
            lost = {int(index): str(item_id) for index, item_id in request["lost"].items()}
            return msgspec.json.encode({"verdict": self.engine.run(item, request["dead"], lost)})
        except BaseException:
            return msgspec.json.encode({"raised": traceback.format_exc()})
        finally:
            self._free_memory(request.get("item", {}))
            self.journal.note("idle")

    def _free_memory(self, item: Mapping[str, Any]) -> None:
        """Free memory when the layer changes; the cases of a layer take most of the memory."""
        layer, modules = item.get("layer"), len(sys.modules)
        if layer != self._layer or modules != self._modules:
            # The collector ignores the size of arrays, so by itself it would run too late. It looks
            # at frozen objects, such as modules and compiled programs, when they have doubled.
            looks_at_all = self._has_doubled()
            if looks_at_all:
                gc.unfreeze()
            gc.collect()
            self._frozen_at_most += len(gc.get_objects())
            gc.freeze()
            if looks_at_all:
                self._count_frozen()
            _trim_memory()
        self._layer, self._modules = layer, modules

    def _has_doubled(self) -> bool:
        """Whether there are twice as many frozen objects as when all were last looked at."""
        if self._frozen_at_most > 2 * self._frozen_at_last_look:
            # Some of them have died. To count a frozen object takes a tenth of a microsecond, and
            # there are some 240,000 with torch alone: too much for each item.
            self._frozen_at_most = gc.get_freeze_count()
        return self._frozen_at_most > 2 * self._frozen_at_last_look

    def _count_frozen(self) -> None:
        self._frozen_at_most = self._frozen_at_last_look = gc.get_freeze_count()

    def _benchmark(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from conformance.timing.workloads import TimedCall

        line, rounds = self.bench.measure(TimedCall(**request["benchmark"]), request["set"])
        return {"line": line, "rounds": rounds}

    @cached_property
    def bench(self) -> Bench:
        """Times calls of the backend; created for the first benchmark."""
        from conformance.timing.measure import Bench

        return Bench(self.engine.backend, self.engine.seed, self.journal.note)

    def _try_case(self, item: Item, request: Mapping[str, Any]) -> Outcome | dict[str, Any]:
        from conformance.layers.encoding import decode_case
        from conformance.run.stale import run_pinned_case

        case = decode_case(request["case"])
        if request.get("base"):
            return self.engine.reference.base_outcome(item, case, request["fork"]) or {}
        if "fork" in request:
            run = runner_here(self.engine.backend) or run_in_fork
            return run(lambda: self._outcome(item, case), request["fork"]) or {}
        if "due" in request:
            return run_pinned_case(self.engine, item, case, request["due"])
        if "script" in request:
            return {"script": self._script(item, case, request["script"], request["deadly"])}
        self.journal.note("checking")
        with self._recording_steps():
            return self._outcome(item, case)

    def _script(self, item: Item, case: Case, message: str, ends_process: bool) -> str:
        """Write the reproducer of a case, in a fork if the case ends the process."""
        from conformance.diagnosis import reproducer
        from conformance.diagnosis.script_torch import is_torch_shaped
        from conformance.items.outcomes import Outcome

        partial = self._step_file.with_name(SCRIPT_FILE)
        partial.unlink(missing_ok=True)

        def script() -> str:
            return self.engine.script(
                item, case, message, ends_process=ends_process, write=self._write
            )

        # Frameworks other than torch may hang in a fork.
        in_fork = ends_process and is_torch_shaped(self.engine.backend)
        if not in_fork:
            return script()
        outcome = run_in_fork(lambda: Outcome("passed", script()), reproducer.MAX_CRASH_SECONDS)
        if outcome is not None and outcome.status == "passed":
            return str(outcome.message)
        return partial.read_text(encoding="utf-8") if partial.exists() else script()

    def _write(self, script: str) -> None:
        """Save the script up to the next step, because that step may crash or hang."""
        self._step_file.with_name(SCRIPT_FILE).write_text(script, encoding="utf-8")
        self.journal.note("checking")

    @contextlib.contextmanager
    def _recording_steps(self) -> Iterator[None]:
        """Write each step to a file before it runs, because it may end the process."""
        from conformance.layers.encoding import encode_case

        current: list[Any] = []

        def note(step: str, case: Case) -> None:
            current[:] = [step, encode_case(case)]
            write_step("")

        def write_step(inner_call: str) -> None:
            if current:
                step, case = current
                entry = {"step": step, "case": case, "within": inner_call}
                self._step_file.write_bytes(msgspec.json.encode(entry))

        try:
            with hooks(on_step=note, on_inner_call=write_step):
                yield
        finally:
            self._step_file.unlink(missing_ok=True)

    def _outcome(self, item: Item, case: Case) -> Outcome:
        return self.engine.outcome(item, case, self.engine.numerics(item))


def run_in_fork(run: Callable[[], Outcome], seconds: float) -> Outcome | None:
    """Run a function in a fork of this process for at most `seconds`, and return its outcome.

    None if the system has no fork.
    """
    from conformance.items.outcomes import Outcome

    if not hasattr(os, "fork"):
        return None
    memory_guard.clear_message()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        fork_pid = os.getpid()
        # If this process has ended by then, nothing else would end a fork that hangs.
        signal.alarm(int(seconds) + 5)
        # The output of a dying fork must not look like the last output of its parent.
        faulthandler.disable()
        memory_guard.watch_faults()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            with hooks(in_fork=True):
                answer = msgspec.json.encode(run())
            # The backend may have forked this process; only the original answers.
            if os.getpid() == fork_pid:
                os.write(write_end, answer)
        finally:
            os._exit(0)
    os.close(write_end)
    answer = b""
    with os.fdopen(read_end, "rb") as pipe:
        in_time = bool(select.select([pipe], [], [], seconds)[0])
        if in_time:
            answer = pipe.read()
        else:
            os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if answer and status == 0:
        return msgspec.json.decode(answer, type=Outcome, strict=False)
    return _lost_outcome(status if in_time else None)


def runner_here(backend: Any) -> RunInFork | None:
    """What calls a function that may end the backend's own process; None if it has none."""
    from conformance.backends.sealed import SealedBackend

    sealed = unguarded_backend(backend)
    if not is_of_type(sealed, SealedBackend):
        return None

    def run_here(run: Callable[[], Outcome], seconds: float) -> Outcome:
        with hooks(expendable=False), sealed.watch_end(seconds) as ends:
            outcome = run()
        return _lost_outcome(ends[0]) if ends else outcome

    return run_here


def _lost_outcome(status: int | None) -> Outcome:
    """The outcome of a case whose process ended, or was too late (None)."""
    from conformance.isolation.process import exit_text
    from conformance.items.outcomes import Outcome

    if status is None:
        return Outcome("hung")
    return Outcome(
        "crashed", "\n  ".join(filter(None, (exit_text(status), memory_guard.last_message())))
    )


if __name__ == "__main__":
    main()
