"""The first request to a child process, the form of its answers, and its exit statuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EXIT_IN_FORK = 70
"""Exit status of a fork that the backend made and that returned to the suite's code."""
EXIT_PIPE_CLOSED = 71
"""Exit status if the pipe to the parent is closed."""


@dataclass(frozen=True)
class StartRequest:
    """The first request: options of the run.

    Args:
        backend: name by which the user chose the backend.
        known: paths of files with known failures.
        base: the backend whose known failures are inherited; empty for none.
        journal: path of the file for the current case.
        path: the parent's `sys.path`.
        memory: limit in bytes for the process's data, None = no limit.
        copies_fail: copies of an earlier process died or hung, so this one makes none.
        guard: the memory guard's allocator is loaded, and the process starts it.
        id: a token that the answer must repeat.
    """

    backend: str
    examples: int
    seed: int
    known: tuple[str, ...]
    base: str
    journal: str
    path: tuple[str, ...]
    memory: int | None
    copies_fail: bool
    guard: bool
    id: str


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Args:
        id: the id of the request.
        answer: the result; its keys depend on the request.
    """

    id: str
    answer: dict[str, Any]
