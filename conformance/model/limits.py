"""What a child process may use of the machine."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

# Importing torch alone fills some hundred MiB.
LEAST = 2 << 30
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that say how many threads a library may start."""


def keep_to_one_thread(environment: MutableMapping[str, str]) -> None:
    """Let libraries start no threads, unless the user has said how many.

    Several workers with several threads each get in each other's way, and a copy of a process has
    none of its threads: it waits for them for ever.

    Args:
        environment: that is changed.
    """
    for name in THREADS:
        environment.setdefault(name, "1")
    environment.setdefault("OMP_WAIT_POLICY", "passive")


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Args:
        seconds: for one case.
        memory: bytes it may fill, None = no limit.
    """

    seconds: float
    memory: int | None = None


def share_of_memory(workers: int) -> int | None:
    """Bytes for one of several workers, a fifth of the machine's memory left to others.

    Args:
        workers: how many run side by side.
    """
    total = _memory()
    return None if total is None else max(LEAST, total * 4 // 5 // max(workers, 1))


def _memory() -> int | None:
    """The machine's memory, or the container's where that is less; None where unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return total
