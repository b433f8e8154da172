"""What Linux says of other processes: their children, names, and how much they compute."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

IDLE_SECONDS, MAX_IDLE_SHARE, MAX_IDLE_RUNS = 0.01, 0.2, 2
"""How long an idle process is watched, the share of this that it may compute, and how often."""
SECONDS_BETWEEN_WATCHES = 0.25
SECONDS_BEFORE_RESTS = 0.1
"""Seconds after a watch from which on rests between two requests count as the next one."""


class Activity(NamedTuple):
    """How much processes have computed.

    Args:
        moment: when that was read, in seconds of the monotonic clock.
        seconds: how long their threads have run.
        runs: how often these have started to run.
    """

    moment: float
    seconds: float
    runs: int


class IdleWatch:
    """Tells whether a process computes while nothing is asked of it.

    A watch costs a moment of waiting, which is spared where the process was seen to rest between
    two requests for as long.

    Args:
        processes: the numbers of the process and of those that belong to it.
    """

    def __init__(self, processes: Sequence[int] = ()) -> None:
        self.processes = processes
        self._watched = 0.0
        self._rest_start: Activity | None = None
        self._rested = Activity(0.0, 0.0, 0)

    def begin_rest(self) -> None:
        """The process has answered a request."""
        if time.monotonic() - self._watched > SECONDS_BEFORE_RESTS:
            self._rest_start = self._read()

    def end_rest(self) -> None:
        """The next request is about to be sent."""
        start, self._rest_start = self._rest_start, None
        if start is None:
            return
        self._rested = _sum(self._rested, _difference(start, self._read()))
        if self._rested.moment >= IDLE_SECONDS:
            if not _is_busy(self._rested):
                self._watched = time.monotonic()
            self._rested = Activity(0.0, 0.0, 0)

    def sees_work(self) -> bool:
        """Whether the process computes now; False if it was seen to rest a moment ago."""
        if time.monotonic() - self._watched <= SECONDS_BETWEEN_WATCHES:
            return False
        self._watched = time.monotonic()
        # On a busy machine an honest process may still be on its way from an answer to its wait.
        return self._computes() and self._computes()

    def _computes(self) -> bool:
        """Whether the process computes during a moment in which nothing is asked of it."""
        before = self._read()
        time.sleep(IDLE_SECONDS)
        return _is_busy(_difference(before, self._read()))

    def _read(self) -> Activity:
        seconds, runs = 0.0, 0
        for process in self.processes:
            ran, count = read_activity(process)
            seconds, runs = seconds + ran, runs + count
        return Activity(time.monotonic(), seconds, runs)


def _difference(before: Activity, after: Activity) -> Activity:
    return Activity(
        after.moment - before.moment, after.seconds - before.seconds, after.runs - before.runs
    )


def _sum(first: Activity, second: Activity) -> Activity:
    return Activity(
        first.moment + second.moment, first.seconds + second.seconds, first.runs + second.runs
    )


def _is_busy(rest: Activity) -> bool:
    """Whether a process has computed more in a rest, however long, than a watch allows."""
    return rest.seconds > MAX_IDLE_SHARE * IDLE_SECONDS or rest.runs > MAX_IDLE_RUNS


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
