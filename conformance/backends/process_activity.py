"""What Linux says of other processes: their children, names, and how much they compute."""

from __future__ import annotations

import contextlib
from pathlib import Path


def list_descendants(process: int) -> list[int]:
    """Numbers of the processes that a process and its children have started; none without /proc."""
    descendants = []
    with contextlib.suppress(OSError):
        for tasks in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (tasks / "children").read_text(encoding="ascii").split()):
                descendants += [child, *list_descendants(child)]
    return descendants


def process_name(process: int) -> str:
    """The name of a process; its number without /proc."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip()
    return str(process)


def read_activity(process: int) -> tuple[float, int]:
    """Seconds that the threads of a process have run, and how often (Linux); 0 if unknown."""
    nanoseconds = runs = 0
    with contextlib.suppress(OSError, ValueError):
        for task in Path(f"/proc/{process}/task").iterdir():
            ran, _, count = (task / "schedstat").read_text(encoding="ascii").split()
            nanoseconds, runs = nanoseconds + int(ran), runs + int(count)
    return nanoseconds / 1e9, runs
