"""The first request to a child process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COPY = 70
"""Exit status of a copy that the backend made, where it comes back to the suite."""
CLOSED = 71
"""Exit status where the pipe to the parent is closed."""


@dataclass(frozen=True)
class Start:
    """The first request.

    Args:
        backend: as named by the user.
        examples, seed: of the run.
        known: files of known failures.
        base: the backend whose known failures are inherited; empty for none.
        journal: file to write the current case to.
        path: the parent's `sys.path`.
        memory: bytes that the process may fill, None = no limit.
        id: of the request; its answer bears it.
    """

    backend: str
    examples: int
    seed: int
    known: tuple[str, ...]
    base: str
    journal: str
    path: tuple[str, ...]
    memory: int | None
    id: str


@dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Args:
        id: of the request.
        answer: what is asked for.
    """

    id: str
    answer: dict[str, Any]
