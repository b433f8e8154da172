"""Processes for sessions of tests, forked from one that has torch already.

Importing torch takes two seconds, and tests start some 150 processes of the suite. They run the
same modules as otherwise, `conformance.isolation.child` and `probe_process`. Started as
`python -P warm.py SOCKET`, this module is the process that they are forked from. As a plug-in
(`-p warm`) it serves a session in another process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn

SOCKET = "NN_CONFORMANCE_TESTS_WARM"
"""The environment variable that names the socket of the process to fork from."""
SEARCH = "NN_CONFORMANCE_TESTS_SEARCH"
"""The environment variable that turns on the full search for minimal cases, as for users."""
LONGEST = 1 << 20
"""Maximum number of bytes of a request, which is mostly an environment."""
MODULES = (
    "conformance.backends.adapters.torch", "conformance.backends.registry", "conformance.checks",
    "conformance.known.entry", "conformance.isolation.child", "conformance.isolation.probe_process",
    "conformance.run.engine", "conformance.items.planning",
)  # fmt: skip


class ForkedProcess:
    """Stands in for `subprocess.Popen`, with the arguments that the suite uses.

    Args:
        command: `[…, "-m", module]`.
        stdin, stdout: must be pipes.
        stderr: a file.
        env: None = the environment of this process.
        start_new_session: must be true.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: IO[bytes],
        env: Mapping[str, str] | None = None,
        start_new_session: bool,
    ) -> None:
        assert stdin == stdout == subprocess.PIPE
        assert start_new_session
        self.args, self.returncode = command, None
        request = {
            "module": command[-1], "cwd": os.getcwd(),
            "environment": dict(os.environ if env is None else env),
        }  # fmt: skip
        theirs, child_input = os.pipe()
        answer_reader, answer_writer = os.pipe()
        self._status = socket.socket(socket.AF_UNIX)
        self._status.connect(os.environ[SOCKET])
        data = json.dumps(request).encode() + b"\n"
        socket.send_fds(self._status, [data[:1]], [theirs, answer_writer, stderr.fileno()])
        self._status.sendall(data[1:])
        os.close(theirs)
        os.close(answer_writer)
        self.stdin, self.stdout = os.fdopen(child_input, "wb"), os.fdopen(answer_reader, "rb")
        self._status_file = self._status.makefile("rb")
        self.pid = int(self._status_file.readline())

    def poll(self) -> int | None:
        """Return the exit status; None while the process runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Return the exit status, or minus the number of the signal that ended the process."""
        if self.returncode is None:
            self.returncode = int(self._status_file.readline())
            self._status.close()
        return self.returncode

    def kill(self) -> None:
        """Send SIGKILL to the process if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def communicate(self, data: bytes, seconds: float) -> tuple[bytes, None]:
        """Send all input, and return all output."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(data)
            self.stdin.close()
        answer, deadline = b"", time.monotonic() + seconds
        while select.select([self.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
            if not (chunk := os.read(self.stdout.fileno(), 1 << 16)):
                self.wait()
                return answer, None
            answer += chunk
        raise subprocess.TimeoutExpired(self.args, seconds, answer)


def shorten_search() -> None:
    """Skip the search for cases smaller than Hypothesis finds; cache cases of several layers.

    The search takes a second or two for each failure. It stays if `SEARCH` is set, and if all
    tests run.
    """
    from conformance.diagnosis import diagnose, minimize
    from conformance.generation import drawing

    drawing._draw_all = functools.lru_cache(maxsize=32)(drawing._draw_all.__wrapped__)  # type: ignore[attr-defined]
    for name in ("simplify_numbers", "shrink_sizes"):
        setattr(diagnose, name, functools.partial(_search_if_wanted, getattr(minimize, name)))


def _search_if_wanted(search: Any, case: Any, fails: Any) -> Any:
    is_wanted = SEARCH in os.environ or os.environ.get("NN_CONFORMANCE_TESTS") == "all"
    return search(case, fails) if is_wanted else case


def install() -> None:
    """Fork the suite's processes that this one starts; does nothing without `os.fork`."""
    from conformance.isolation import probe_process, process

    if not hasattr(os, "fork"):
        return
    start()
    for module in (probe_process, process):
        module.subprocess = SimpleNamespace(  # type: ignore[attr-defined]
            Popen=ForkedProcess, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
        )


@contextlib.contextmanager
def cold() -> Iterator[None]:
    """Start processes as for users, without a fork."""
    from conformance.isolation import probe_process, process

    original = process.subprocess
    process.subprocess = probe_process.subprocess = subprocess
    try:
        yield
    finally:
        process.subprocess = probe_process.subprocess = original


def start() -> None:
    """Start the process to fork from, unless there is one; it ends with this process."""
    if SOCKET in os.environ or not hasattr(os, "fork"):
        return
    from conformance.backends.poison import poisoned
    from conformance.isolation.guard_library import build_library, preloaded
    from conformance.model.limits import keep_to_one_thread
    from conformance.model.usage_error import UsageError

    folder = tempfile.mkdtemp(prefix="warm-")
    path, environment = str(Path(folder) / "socket"), poisoned(os.environ)
    keep_to_one_thread(environment)
    # The allocator of the memory guard does nothing until a process starts it.
    with contextlib.suppress(UsageError):
        environment = preloaded(environment, build_library())
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, path], stdin=subprocess.PIPE, env=environment
    )
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.kill)
    os.environ[SOCKET] = path
    while not Path(path).exists():
        assert process.poll() is None, "the process to fork from did not start"
        time.sleep(0.05)


def pytest_configure() -> None:
    """Serve a session in a process of its own."""
    install()


def _serve_requests(path: str) -> NoReturn:
    """Fork a process for each request, until standard input ends."""
    for name in MODULES:
        importlib.import_module(name)
    sys.modules["conformance.known.entry"].shipped_entries("torch")
    shorten_search()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path + ".new")
        listener.listen(64)
        os.rename(path + ".new", path)
        while True:
            if 0 in select.select([listener, 0], [], [])[0]:
                os._exit(0)
            connection, _ = listener.accept()
            first, files, _, _ = socket.recv_fds(connection, 1, 3)
            request = json.loads(first + connection.makefile("rb").readline(LONGEST))
            if os.fork() == 0:
                listener.close()
                _watch_child(request, files, connection)
            for file in (*files, connection.fileno()):
                os.close(file)
            connection.detach()


def _watch_child(request: dict[str, Any], files: list[int], connection: socket.socket) -> NoReturn:
    """Fork the process, and send its id and exit status, which only its parent gets."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become_module(request, files)
    for file in files:
        os.close(file)
    connection.sendall(b"%d\n" % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % code)
    os._exit(0)


def _become_module(request: dict[str, Any], files: list[int]) -> NoReturn:
    """Run a module as `python -P -m module` would, in the environment of the request."""
    os.setsid()
    for descriptor, file in enumerate(files):
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    importlib.invalidate_caches()
    try:
        sys.modules[request["module"]].main()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    _serve_requests(sys.argv[1])
