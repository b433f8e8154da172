"""The spawned process: reads requests on standard input, runs them, answers on standard output.

Started as `python -m conformance.isolation.child`. One JSON object a line: first `Start`, answered
`{}` or `{"error": …}`; then `{"item": …, "seconds": …}` runs an item within a budget (null: in as
much time as it takes), `{"item": …, "case": …}` one case of it, with `"fork"` in a copy of this
process, which has run nothing yet and stays as it is, with `"base"` on the backend's base;
`{"benchmark": …, "set": …}` times a call.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import faulthandler
import gc
import os
import queue
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from conformance.isolation.journal import SCRIPT, STEP
from conformance.isolation.start import Start

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.run.outcomes import Outcome
    from conformance.run.planning import Item
    from conformance.timing.measure import Bench


def main() -> None:
    """Serve until standard input ends."""
    answers = _own_output()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    requests = _read_ahead(sys.stdin.buffer)
    start = msgspec.json.decode(requests.get(), type=Start)
    sys.path[:] = list(start.path)
    _limit(start.memory)
    serve = _Server(start)
    answers.write(msgspec.json.encode({"error": serve.error} if serve.error else {}) + b"\n")
    while True:
        answers.write(serve.answer(msgspec.json.decode(requests.get())) + b"\n")


def _own_output() -> IO[bytes]:
    """The pipe to the parent; whatever else is printed, by native code too, goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def _read_ahead(source: IO[bytes]) -> queue.SimpleQueue[bytes]:
    """Lines of standard input; its end means that the parent is gone, even in mid-case."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in source:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _limit(memory: int | None) -> None:
    """Let allocations beyond the limit fail in here, before the machine runs out of memory."""
    if memory is None:
        return
    # No such module on Windows; a lower limit may be in force already.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def _give_memory_back() -> None:
    """Let the system have what is free: glibc keeps it between pieces that are in use."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Server:
    """Answers requests with an engine of its own.

    Args:
        start: the first request.
    """

    def __init__(self, start: Start) -> None:
        from conformance.backends.registry import BackendError, load
        from conformance.failures.known import KnownError, read
        from conformance.isolation.journal import Journal
        from conformance.run.engine import Engine

        self.error, self._drawn = "", (None, None)
        self.journal = Journal(Path(start.journal))
        self._step = Path(start.journal).with_name(STEP)
        try:
            backend = load(start.backend)
            known = read(backend.name, [Path(path) for path in start.known], start.base)
        except (BackendError, KnownError) as error:
            self.error = str(error)
            return
        self.engine = Engine(
            backend, start.examples, start.seed, known,
            note=self.journal.note, copied=_in_copy,
        )  # fmt: skip
        gc.collect()
        gc.freeze()

    def answer(self, request: Mapping[str, Any]) -> bytes:
        """One request; what the suite itself raises is an answer, too."""
        from conformance.run.budget import Budget
        from conformance.run.planning import Item

        try:
            if "benchmark" in request:
                return msgspec.json.encode(self._benchmark(request))
            item = Item(**request["item"])
            if "case" in request:
                return msgspec.json.encode(self._tried(item, request))
            seconds = request["seconds"]
            self.engine.budget = None if seconds is None else Budget(seconds)
            lost = {int(index): str(met) for index, met in request["lost"].items()}
            return msgspec.json.encode({"verdict": self.engine.run(item, request["dead"], lost)})
        except Exception:
            return msgspec.json.encode({"raised": traceback.format_exc()})
        finally:
            self._tidy(request.get("item", {}))
            self.journal.note("idle")

    def _tidy(self, item: Mapping[str, Any]) -> None:
        """Give memory back; cases, of which a layer and dtype has its own, are what is large."""
        drawn = item.get("layer"), item.get("dtype")
        if drawn != self._drawn:
            # Arrays do not count for the collector, however large: by itself it comes late.
            gc.collect()
        self._drawn = drawn
        _give_memory_back()

    def _benchmark(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from conformance.timing.workloads import Timed

        line, rounds = self.bench.measure(Timed(**request["benchmark"]), request["set"])
        return {"line": line, "rounds": rounds}

    @cached_property
    def bench(self) -> Bench:
        """What times calls."""
        from conformance.timing.measure import Bench

        return Bench(self.engine.backend, self.engine.seed, self.journal.note)

    def _tried(self, item: Item, request: Mapping[str, Any]) -> dict[str, Any]:
        from conformance.model.encoding import decode_case

        case = decode_case(request["case"])
        if request.get("base"):
            outcome = self.engine.reference.base_outcome(item, case, request["fork"])
            return {} if outcome is None else dataclasses.asdict(outcome)
        if "fork" in request:
            return _forked(lambda: self._outcome(item, case), request["fork"])
        if "script" in request:
            self._step.with_name(SCRIPT).unlink(missing_ok=True)
            script = self.engine.script(
                item, case, request["script"], deadly=request["deadly"], write=self._write
            )
            return {"script": script}
        self.journal.note("checking")
        with self._noting_steps():
            return self._outcome(item, case)

    def _write(self, script: str) -> None:
        """A script up to the step that comes next, which may be the last, or never end."""
        self._step.with_name(SCRIPT).write_text(script, encoding="utf-8")
        self.journal.note("checking")

    @contextlib.contextmanager
    def _noting_steps(self) -> Iterator[None]:
        """Each step is written down before it begins: it may be the last."""
        from conformance.model.encoding import encode_case
        from conformance.run.trial import Trial

        def note(step: str, case: Case) -> None:
            self._step.write_bytes(msgspec.json.encode({"step": step, "case": encode_case(case)}))

        Trial.begun = note
        try:
            yield
        finally:
            Trial.begun = None
            self._step.unlink(missing_ok=True)

    def _outcome(self, item: Item, case: Case) -> dict[str, Any]:
        numerics = self.engine.numerics(item.dtype)
        return dataclasses.asdict(self.engine.outcome(item, case, numerics))


def _in_copy(run: Callable[[], Outcome], seconds: float) -> Outcome | None:
    """The outcome of a case in a copy of this process; None where there are no copies."""
    from conformance.run.outcomes import Outcome

    answer = _forked(lambda: dataclasses.asdict(run()), seconds)
    if not answer:
        return None
    return msgspec.convert(answer, Outcome, strict=False)


def _forked(run: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
    """What a copy of this process answers, or how it died.

    Args:
        run: gives the answer.
        seconds: that the copy may take.
    """
    if not hasattr(os, "fork"):
        return {}
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Should this process be gone by then, nothing else would end a copy that hangs.
        signal.alarm(int(seconds) + 5)
        # What it prints as it dies is not to be taken for its parent's last words.
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            os.write(writes, msgspec.json.encode(run()))
        finally:
            os._exit(0)
    os.close(writes)
    answer = b""
    with os.fdopen(reads, "rb") as pipe:
        in_time = bool(select.select([pipe], [], [], seconds)[0])
        if in_time:
            answer = pipe.read()
        else:
            os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if answer and code == 0:
        return msgspec.json.decode(answer, type=dict[str, Any])
    from conformance.isolation.process import ended

    return {"status": "crashed", "message": ended(code)} if in_time else {"status": "hung"}


if __name__ == "__main__":
    main()
