"""The process that loads a backend for the first time, asks what it offers, answers and ends.

The parent starts it as `python -P -m conformance.isolation.probe_process`. If the import raises,
hangs, exits or crashes, this process ends and pytest does not.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import IO

import msgspec

from conformance.backends.foreign_calls import hooks
from conformance.backends.guard import BackendError
from conformance.isolation.probe import ProbeQuery, ProbeResult, probe_backend
from conformance.isolation.process import exit_text, kill
from conformance.model.plain_text import bounded

MAX_OUTPUT = 600
"""Most characters of the process's last output in a message."""


def probe_in_process(query: ProbeQuery, seconds: float) -> ProbeResult:
    """Load a backend in a process of its own, and ask there what it offers.

    Args:
        query: the user's options.
        seconds: time limit of the process.

    Raises:
        BackendError: if the backend cannot be used, or the process crashes, exits or hangs.
    """
    query = replace(query, path=tuple(sys.path), id=secrets.token_hex(8))
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance.isolation.probe_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            # Only pytest handles Ctrl-C.
            start_new_session=True,
        )
        try:
            answer, _ = process.communicate(msgspec.json.encode(query), seconds)
            problem = (
                f"{exit_text(process.returncode)}, while it was loaded and asked what it offers"
            )
        except subprocess.TimeoutExpired as expired:
            reason = _describe_wait(expired.stdout or b"")
            answer, problem = b"", f"{reason} within {seconds:g} s: expected an answer"
        finally:
            kill(process)
            process.wait()
        result = _decode_result(answer.rpartition(b"\n")[2])
        if result is None or result.id != query.id:
            raise BackendError(f"backend {query.backend!r}: {problem}{_last_output(stderr)}")
    if result.problem:
        raise BackendError(result.problem)
    return result


def _describe_wait(output: bytes) -> str:
    """Describe what the process was waiting for when its time was over."""
    members = [line for line in output.splitlines() if line]
    if not members:
        return "it was not imported"
    name = members[-1].decode("ascii", "replace")
    return f"it did not answer when it was asked for {bounded(name, MAX_OUTPUT)}"


def _decode_result(answer: bytes) -> ProbeResult | None:
    try:
        return msgspec.json.decode(answer, type=ProbeResult)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _last_output(stderr: IO[bytes]) -> str:
    """The last lines that the process printed, indented."""
    stderr.seek(max(stderr.seek(0, os.SEEK_END) - MAX_OUTPUT, 0))
    lines = bounded(stderr.read(MAX_OUTPUT).decode("utf-8", "replace")).strip().splitlines()
    return "".join(f"\n  {line}" for line in lines[-8:])


def main() -> None:
    """Read one request from standard input, and write the answer to standard output."""
    # All other output, also of native code, goes to stderr.
    pipe, pid = os.fdopen(os.dup(1), "wb", buffering=0), os.getpid()
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    query = msgspec.json.decode(sys.stdin.buffer.read(), type=ProbeQuery)
    sys.path[:] = list(query.path)
    last = [""]

    def report_member(name: str) -> None:
        if name != last[0]:
            last[0] = name
            pipe.write(name.encode() + b"\n")

    try:
        with hooks(on_member=report_member):
            result = probe_backend(query)
    except BackendError as error:
        result = ProbeResult(query.id, str(error) or "no message")
    if os.getpid() == pid:
        pipe.write(msgspec.json.encode(result))
    # Do not wait for the backend's threads, nor run its exit handlers.
    os._exit(0)


if __name__ == "__main__":
    main()
