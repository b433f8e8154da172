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
from conformance.isolation.probe import Asked, Offer, offer
from conformance.isolation.process import ended, kill
from conformance.model.plain_text import bounded

WORDS = 600
"""Most characters of the process's last output in a message."""


def offered_by(asked: Asked, seconds: float) -> Offer:
    """Load a backend in a process of its own, and ask there what it offers.

    Args:
        asked: the user's options.
        seconds: time limit of the process.

    Raises:
        BackendError: if the backend cannot be used, or the process crashes, exits or hangs.
    """
    asked = replace(asked, path=tuple(sys.path), id=secrets.token_hex(8))
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance.isolation.probe_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            # Only pytest handles Ctrl-C.
            start_new_session=True,
        )
        try:
            answer, _ = process.communicate(msgspec.json.encode(asked), seconds)
            how = f"{ended(process.returncode)}, while it was loaded and asked what it offers"
        except subprocess.TimeoutExpired as expired:
            what = _asking(expired.stdout or b"")
            answer, how = b"", f"{what} within {seconds:g} s: expected an answer"
        finally:
            kill(process)
            process.wait()
        found = _decoded(answer.rpartition(b"\n")[2])
        if found is None or found.id != asked.id:
            raise BackendError(f"backend {asked.backend!r}: {how}{_last_words(said)}")
    if found.problem:
        raise BackendError(found.problem)
    return found


def _asking(output: bytes) -> str:
    """Describe what the process was waiting for when its time was over."""
    asked = [line for line in output.splitlines() if line]
    if not asked:
        return "it was not imported"
    name = asked[-1].decode("ascii", "replace")
    return f"it did not answer when it was asked for {bounded(name, WORDS)}"


def _decoded(answer: bytes) -> Offer | None:
    try:
        return msgspec.json.decode(answer, type=Offer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _last_words(said: IO[bytes]) -> str:
    """The last lines that the process printed, indented."""
    said.seek(max(said.seek(0, os.SEEK_END) - WORDS, 0))
    lines = bounded(said.read(WORDS).decode("utf-8", "replace")).strip().splitlines()
    return "".join(f"\n  {line}" for line in lines[-8:])


def main() -> None:
    """Read one request from standard input, and write the answer to standard output."""
    # All other output, also of native code, goes to stderr.
    pipe, own = os.fdopen(os.dup(1), "wb", buffering=0), os.getpid()
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    sys.path[:] = list(asked.path)
    last = [""]

    def told(name: str) -> None:
        if name != last[0]:
            last[0] = name
            pipe.write(name.encode() + b"\n")

    try:
        with hooks(on_member=told):
            found = offer(asked)
    except BackendError as error:
        found = Offer(asked.id, str(error) or "no message")
    if os.getpid() == own:
        pipe.write(msgspec.json.encode(found))
    # Do not wait for the backend's threads, nor run its exit handlers.
    os._exit(0)


if __name__ == "__main__":
    main()
