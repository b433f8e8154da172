"""Workers end with the pytest that started them, in the middle of an item too."""

from __future__ import annotations

import os
import threading
import time

CONTROLLER = "conformance-controller"
"""Name under which a worker on the same machine is handed pytest's process number."""
EVERY = 0.2
"""Seconds between two looks at who the parent is."""
ORPHANED = 1
"""Exit status of a process that has lost its parent."""


def end_with(controller: int | None, seconds: float = EVERY) -> None:
    """End this process as soon as the pytest that started it has ended.

    execnet waits until the running item has ended, up to fifteen seconds. Nobody is there to read
    its verdict, and the process that runs the backend ends with this one.

    Args:
        controller: pytest's process, which may have ended already; None = on another machine.
        seconds: between two looks.
    """
    # Elsewhere a process keeps the number of its parent, and signal 0 ends it.
    if os.name == "posix":
        threading.Thread(
            target=_watch, args=(os.getppid(), controller, seconds), daemon=True
        ).start()


def _watch(parent: int, controller: int | None, seconds: float) -> None:
    # What started this process may be a script, and not pytest itself.
    while os.getppid() == parent and (controller is None or _exists(controller)):
        time.sleep(seconds)
    os._exit(ORPHANED)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
