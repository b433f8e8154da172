"""What a child process is at, written so that it survives the process."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

PHASES = ("idle", "drawing", "pinned", "checking", "shrinking")
# In these the backend runs; the time limit of a case holds.
WATCHED = ("pinned", "checking", "shrinking")
STEP = "step"
"""Name of the file, beside the journal, that holds the step of a case that is at work."""
SCRIPT = "script"
"""Name of the file that holds the script of a case up to the step that is at work."""
_FORM = struct.Struct("<4q")


@dataclass(frozen=True)
class Entry:
    """One entry.

    Args:
        phase: one of `PHASES`.
        index: of the case; when shrinking, of the first one that failed; of the known failure
            when its pinned case runs.
        checked: cases checked before.
        count: entries written so far.
    """

    phase: str = "idle"
    index: int = 0
    checked: int = 0
    count: int = 0


class Journal:
    """The newest entry of a child, in a file that both processes map into memory.

    A case is drawn again from its index, so that a few numbers tell all: an entry costs about a
    microsecond.

    Args:
        path: the file; it is made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_FORM.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)
        self._count = 0

    def note(self, phase: str, index: int = 0, checked: int = 0) -> None:
        """Write an entry over the last one."""
        self._count += 1
        _FORM.pack_into(self._map, 0, PHASES.index(phase), index, checked, self._count)

    def read(self) -> Entry:
        """The newest entry."""
        phase, index, checked, count = _FORM.unpack_from(self._map, 0)
        return Entry(PHASES[phase], index, checked, count)

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()
