"""Workers end with the pytest that started them, in the middle of an item too."""

from __future__ import annotations

import os
import threading
import time

EVERY = 0.2
"""Seconds between two looks at who the parent is."""
ORPHANED = 1
"""Exit status of a process that has lost its parent."""


def end_with_parent(seconds: float = EVERY) -> None:
    """End this process as soon as its parent has ended.

    execnet waits until the running item has ended, up to fifteen seconds. Nobody is there to read
    its verdict, and the process that runs the backend ends with this one.

    Args:
        seconds: between two looks.
    """
    threading.Thread(target=_watch, args=(os.getppid(), seconds), daemon=True).start()


def _watch(parent: int, seconds: float) -> None:
    while os.getppid() == parent:
        time.sleep(seconds)
    os._exit(ORPHANED)
