"""Entries of the hostile catalogue, and their expected outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

USAGE_ERROR = 4
"""pytest's exit status of a usage error."""
NEVER = r"INTERNALERROR|Traceback \(most recent call last\)|The suite's own code failed"
"""A pattern that no output may match."""


@dataclass(frozen=True)
class Expected:
    """The expected outcome of an entry.

    Args:
        code: exit status, or a choice of several.
        says: patterns that must all occur in the output (stdout and stderr).
        never: a pattern that must not occur in the output, in addition to `NEVER`.
        verdicts: glob of ids → pattern of status and message, e.g. `"failed: get returned .*"`.
            Each must match at least one verdict of the results.
        others: status of every other verdict; empty = any.
        longest: maximum number of characters of the output.
    """

    code: int | tuple[int, ...]
    says: tuple[str, ...] = ()
    never: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    others: str = ""
    longest: int = 20_000


@dataclass(frozen=True)
class Entry:
    """One hostile input to try.

    Args:
        name: unique, in words joined by hyphens.
        point: the kind of hostile input, a key of `POINTS` (`table.py`); 0 = any other kind.
        files: contents by name, written into an empty folder first; `{folder}` is that folder.
        command: arguments after the interpreter, run in the folder: `("-m", "pytest", …)`.
        expected: the expected outcome.
        seconds: the longest time that it may take.
    """

    name: str
    point: int
    files: Mapping[str, str | bytes]
    command: tuple[str, ...]
    expected: Expected
    seconds: float = 60.0
