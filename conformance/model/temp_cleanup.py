"""Remove temporary folders of earlier runs that were killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "conformance-"
"""Prefix of the names of the suite's temporary folders."""
OWNER_FILE = "owner"
"""The file in each folder that names the process to which it belongs."""
_OWNER_PATTERN = re.compile(
    r"(?P<pid>[0-9]{1,10}) (?P<started>[0-9]{1,20}|-) (?P<host>[^\n]{1,256})\n"
)


def write_owner(folder: Path) -> None:
    """Record in a temporary folder that it belongs to this process, which made it."""
    pid = os.getpid()
    text = f"{pid} {_process_start(pid) or '-'} {_host_id()}\n"
    (folder / OWNER_FILE).write_text(text, encoding="utf-8")


def remove_abandoned_folders(temporary: Path | None = None) -> int:
    """Remove this user's folders whose process has ended, and return their number.

    Args:
        temporary: the parent folder; None = the system's folder for temporary files.
    """
    removed = 0
    parent = Path(tempfile.gettempdir()) if temporary is None else temporary
    with contextlib.suppress(OSError):
        for folder in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if _is_abandoned(folder):
                    shutil.rmtree(folder)
                    removed += 1
    return removed


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder belongs to this user and to a process of this machine that has ended."""
    status = folder.lstat()  # do not follow a link
    if (
        not stat.S_ISDIR(status.st_mode)
        or not hasattr(os, "getuid")
        or status.st_uid != os.getuid()
    ):
        return False
    note = (folder / OWNER_FILE).lstat()
    if not stat.S_ISREG(note.st_mode) or note.st_size > 400:
        return False
    text = (folder / OWNER_FILE).read_text(encoding="utf-8", errors="replace")
    match = _OWNER_PATTERN.fullmatch(text)
    if match is None or match["host"] != _host_id():
        return False
    pid = int(match["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    current_start = _process_start(pid)  # another process may have got this number
    return bool(current_start) and match["started"] not in ("-", current_start)


def _process_start(pid: int) -> str:
    """The start of a process in clock ticks since the machine's boot; empty if unknown."""
    try:
        # The process's name stands in brackets and may contain anything.
        _, _, fields_after_name = (
            Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        )
        return fields_after_name.split()[19]
    except (OSError, IndexError):
        return ""


def _host_id() -> str:
    """The machine, its boot and its process namespace.

    Process numbers are unique only within these, and machines may share a folder.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = "-"
    with contextlib.suppress(OSError):
        boot += f" {os.readlink('/proc/self/ns/pid')}"
    return f"{os.uname().nodename} {boot}" if hasattr(os, "uname") else boot
