"""The process in which a backend is first loaded and asked what it offers; it answers and ends.

Started as `python -P -m conformance.isolation.probe_process`. If the import raises, hangs, exits or
crashes, this process ends and not pytest.
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
"""Characters that the process printed last, in a message."""


def offered_by(asked: Asked, seconds: float) -> Offer:
    """Load a backend in a process of its own and ask it there.

    Args:
        asked: by the user.
        seconds: that this may take.

    Raises:
        BackendError: if it cannot be used, whatever it does instead.
    """
    asked = replace(asked, path=tuple(sys.path), id=secrets.token_hex(8))
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance.isolation.probe_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            # A Ctrl-C is for pytest.
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
    """What the process had not done when its time was over."""
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
    """What the process printed last, each line of it indented."""
    said.seek(max(said.seek(0, os.SEEK_END) - WORDS, 0))
    lines = bounded(said.read(WORDS).decode("utf-8", "replace")).strip().splitlines()
    return "".join(f"\n  {line}" for line in lines[-8:])


def main() -> None:
    """Answer one question."""
    # Whatever else is printed, by native code too, goes to stderr.
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
    # Nothing that the backend has registered for the end, and no thread of its, is waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
