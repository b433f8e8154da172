"""End a worker when the pytest that started it ends, even in the middle of an item."""

from __future__ import annotations

import os
import threading
import time

CONTROLLER_KEY = "conformance-controller"
"""Key of a worker's input that holds pytest's process id, if both run on the same machine."""
POLL_SECONDS = 0.2
"""Seconds between two checks that the parent is alive."""
ORPHANED_STATUS = 1
"""Exit status of a process that has lost its parent."""


def exit_with_controller(controller_pid: int | None, poll_seconds: float = POLL_SECONDS) -> None:
    """End this process as soon as the pytest that started it has ended.

    execnet would wait until the running item has ended, up to fifteen seconds, although nobody
    reads its verdict. The process that runs the backend ends with this process.

    Args:
        controller: id of pytest's process, which may have ended; None = on another machine.
        seconds: time between two checks.
    """
    # On Windows a process keeps its parent's id after the parent has ended, and signal 0 kills.
    if os.name == "posix":
        threading.Thread(
            target=_watch, args=(os.getppid(), controller_pid, poll_seconds), daemon=True
        ).start()


def _watch(parent_pid: int, controller_pid: int | None, poll_seconds: float) -> None:
    # The parent of this process may be a script instead of pytest itself.
    while os.getppid() == parent_pid and (controller_pid is None or _is_running(controller_pid)):
        time.sleep(poll_seconds)
    os._exit(ORPHANED_STATUS)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
