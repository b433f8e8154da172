"""One thing that is tried, and the outcome that is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

USAGE = 4
"""pytest's exit status of a usage error."""
NEVER = r"INTERNALERROR|Traceback \(most recent call last\)|The suite's own code failed"
"""What no output has, whatever is tried."""


@dataclass(frozen=True)
class Due:
    """The outcome that is due.

    Args:
        code: exit status, or several of them.
        says: patterns that the output has (stdout and stderr together), each somewhere.
        never: a pattern that it has not, besides `NEVER`.
        verdicts: patterns of verdicts by the glob of their id: `"failed: get returned .*"`, status
            and message, of which each matches at least one verdict of the results.
        others: status of every other verdict; empty = any.
        longest: characters of the output at most.
    """

    code: int | tuple[int, ...]
    says: tuple[str, ...] = ()
    never: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    others: str = ""
    longest: int = 20_000


@dataclass(frozen=True)
class Entry:
    """One thing that is tried.

    Args:
        name: unique, in words joined by hyphens.
        point: of the list of what was tried at first (1 to 19), 0 = none of it.
        files: contents by name, written into an empty folder before; `{folder}` is that folder.
        command: arguments after the interpreter, run in the folder: `("-m", "pytest", …)`.
        due: what must come of it.
        seconds: that it may take.
    """

    name: str
    point: int
    files: Mapping[str, str | bytes]
    command: tuple[str, ...]
    due: Due
    seconds: float = 60.0
