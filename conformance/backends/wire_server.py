"""A server process of the wire protocol, started at the first request and again after it ends."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from conformance.backends.confinement import end_as
from conformance.backends.foreign_calls import HOOKS
from conformance.backends.wire_format import (
    PROTOCOL,
    RESULT_TYPES,
    Answer,
    Hello,
    RefusedError,
    Tensor,
    WireError,
    decode_json,
    read_tensor,
)
from conformance.model.case import Unsupported
from conformance.model.plain_text import bounded
from conformance.model.temp_cleanup import PREFIX, write_owner

MAX_LINE = 1 << 30
"""Most bytes of a line that is read."""
FILE_THRESHOLD = 1 << 20
"""Characters of data from which a tensor is sent as a file, if the server reads files."""


class Server:
    """One server process, which serves one client process.

    Args:
        command: the program and its arguments.

    Attributes:
        starts: how many times the server was started; a layer is lost with its start.
        dropped_layers: numbers of layers that the server may drop, sent with the next request.
        sent: the lines of the requests so far, without line feeds; None = they are not kept.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command, self.starts = tuple(command), 0
        self._process: subprocess.Popen[bytes] | None = None
        self._owner, self._request_id = 0, 0
        self._hello: Hello | None = None
        self._folder: Path | None = None
        self.dropped_layers: list[int] = []
        self.sent: list[str] | None = None

    @property
    def hello(self) -> Hello:
        """The server's first answer; reading it starts the server."""
        self._start()
        assert self._hello is not None
        return self._hello

    def request(self, op: str, /, **fields: Any) -> Any:
        """Send a request, wait for the answer, and return a result of the type in `RESULT_TYPES`.

        Raises:
            Unsupported: if the server declines the call.
            RefusedError: if the server refuses the call.
            WireError: if the server answers anything else; the next request restarts it.
        """
        self._start()
        return self._exchange(op, fields)

    def stop(self) -> None:
        """Kill the server process, and remove its folder."""
        process, self._process, self._hello = self._process, None, None
        self.dropped_layers = []
        if process is None or self._owner != os.getpid():
            return  # a fork of the client has no server of its own yet
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            return
        # A fork of the client leaves the server and its folder to the original process.
        self._owner, self._request_id, self.dropped_layers, self._folder = os.getpid(), 0, [], None
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                preexec_fn=_end_with_parent(),
            )
        except OSError as error:
            raise WireError(f"{self._label} cannot be started: {error}") from None
        self.starts += 1
        hello = self._exchange("hello", {"protocol": PROTOCOL})
        if hello.protocol != PROTOCOL:
            self.stop()
            prefix = f"{self._label} speaks protocol {hello.protocol}"
            raise WireError(f"{prefix}: expected {PROTOCOL}")
        self._hello = hello

    def _exchange(self, op: str, fields: Mapping[str, Any]) -> Any:
        self._request_id += 1
        request = {"id": self._request_id, "op": op, **fields}
        if self.dropped_layers:
            request["drop"], self.dropped_layers = self.dropped_layers, []
        try:
            answer = self._check_answer(self._send(request), op)
            if isinstance(answer.ok, Raw):
                source = f"{self._label} answered {op!r}"
                return decode_json(answer.ok, RESULT_TYPES[op], source)
        except WireError:
            self.stop()
            raise
        if answer.unsupported is not None:
            raise Unsupported(bounded(answer.unsupported))
        raise RefusedError(bounded(answer.error or "no message"), bounded(answer.trace or ""))

    def _send(self, request: Mapping[str, Any]) -> bytes:
        """Send a request, and read the line that answers it."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = msgspec.json.encode(request, enc_hook=str) + b"\n"
        if self.sent is not None:
            self.sent.append(line.decode().rstrip())
        # If the server has ended, reading its answer reports that.
        with contextlib.suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()
        answer = self._process.stdout.readline(MAX_LINE)
        if not answer.endswith(b"\n"):
            self._raise_end(answer)
        return answer

    def _check_answer(self, line: bytes, op: str) -> Answer:
        answer = decode_json(line, Answer, f"{self._label} answered {op!r}")
        fields = (answer.ok, answer.unsupported, answer.error)
        if answer.id != self._request_id:
            prefix = f"{self._label} answered {op!r} with id {answer.id}"
            raise WireError(f"{prefix}: expected {self._request_id}, and one line for each request")
        if sum(field is not None and field is not UNSET for field in fields) != 1:
            prefix = f"{self._label} answered {op!r}"
            raise WireError(f"{prefix}: expected exactly one of ok, unsupported and error")
        return answer

    def _raise_end(self, partial: bytes) -> None:
        """Report that the server has ended, or wrote a line that is too long."""
        assert self._process is not None
        if len(partial) >= MAX_LINE:
            raise WireError(f"{self._label} wrote a line of more than {MAX_LINE} bytes")
        code = self._process.wait()
        if HOOKS.get().expendable:
            # This process exists for the server: ending the same way costs only one verdict.
            _end_as(code)
        ending = f"was ended by signal {-code}" if code < 0 else f"exited with status {code}"
        partial_text = (
            f" in the middle of a line, {bounded(str(partial[:80]))!a}" if partial else ""
        )
        raise WireError(f"{self._label} {ending}{partial_text}")

    @property
    def _label(self) -> str:
        return f"the server {bounded(' '.join(self.command), 200)!r}"

    def fetch(self, tensor: Tensor) -> Tensor:
        """Read the elements of a tensor that the server may have sent as a file."""
        return read_tensor(tensor, self._folder)

    def prepare_tensor(self, tensor: Tensor) -> Tensor:
        """Prepare a tensor for sending: a large one becomes a file if the server reads files."""
        if tensor.data is None or len(tensor.data) < FILE_THRESHOLD or not self.hello.files:
            return tensor
        if self._folder is None:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
            write_owner(folder)
            self.request("files", folder=str(folder))
            self._folder = folder
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(b64decode(tensor.data))
        return Tensor(dtype=tensor.dtype, shape=tensor.shape, file=file.name)


def _end_as(code: int) -> None:
    """End this process with the exit status or signal of another one."""
    faulthandler.disable()
    sys.stderr.flush()
    end_as(code)


def _end_with_parent() -> Any:
    """A `preexec_fn` that ends the server when its client is killed; None except on Linux."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda: prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
