"""Finds the processes of a run by a mark in their environment, in any process group."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

MARK = "NN_CONFORMANCE_KILLS"
"""The environment variable of the mark."""


def read_parent_pid(pid: int) -> int:
    """The id of a process's parent; 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def command(pid: int) -> str:
    """The command line of a process; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def send_signal(pid: int, signal_number: signal.Signals) -> bool:
    """Send a signal to a process, or to a group by its negative id; False if it has ended."""
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def marked_processes(mark: str) -> Iterator[int]:
    """Living processes of a run."""
    mark_bytes = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if mark_bytes in (path / "environ").read_bytes() and state != "Z":
                yield int(path.name)
        except OSError:
            continue
