"""The first request to a child process."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    backend: str
    examples: int
    seed: int
    known: tuple[str, ...]
    base: str
    journal: str
    path: tuple[str, ...]
    memory: int | None
