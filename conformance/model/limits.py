"""The threads, memory and time that a child process may use."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

# In bytes. Importing torch alone takes several hundred MiB.
MIN_MEMORY = 2 << 30
SEED_COUNT = 2**31
"""Number of seeds from which a run draws its own."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that set how many threads a library may start."""


def keep_to_one_thread(environment: MutableMapping[str, str]) -> None:
    """Set libraries to one thread in `environment`, unless the user has set a number.

    Several workers with several threads each slow one another down. A forked copy of a process has
    none of the original's threads and would wait for them forever.
    """
    for name in THREAD_VARIABLES:
        environment.setdefault(name, "1")
    environment.setdefault("OMP_WAIT_POLICY", "passive")


@dataclass(frozen=True)
class Limits:
    """What a child process may use.

    Args:
        seconds: time for one case.
        memory: bytes; None = no limit.
    """

    seconds: float
    memory: int | None = None


def memory_per_worker(workers: int) -> int | None:
    """Bytes for each of several parallel workers; a fifth of the machine's memory stays free."""
    total = _total_memory()
    return None if total is None else max(MIN_MEMORY, total * 4 // 5 // max(workers, 1))


def _total_memory() -> int | None:
    """Bytes of the machine, or of the container if that has less; None if unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return total
