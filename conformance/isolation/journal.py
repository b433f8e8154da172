"""The current case of a child process, in a file that survives the process."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

PHASES = ("idle", "drawing", "pinned", "checking", "shrinking")
# Phases in which the backend runs, and in which the time limit of a case applies.
TIMED_PHASES = ("pinned", "checking", "shrinking")
STEP_FILE = "step"
"""Name of the file, beside the journal, that holds the current step of a case."""
SCRIPT_FILE = "script"
"""Name of the file that holds the reproducer of a case up to the current step."""
_ENTRY_FORMAT = struct.Struct("<4q")
_COPIES_FAIL_FORMAT = struct.Struct("<q")
_SIZE = _ENTRY_FORMAT.size + _COPIES_FAIL_FORMAT.size


@dataclass(frozen=True)
class Entry:
    """One entry of the journal.

    Args:
        phase: one of `PHASES`.
        index: index of the case. While shrinking, it is the first case that failed; for a pinned
            case, it is the index of the known failure.
        checked: number of cases checked before.
        count: number of entries written so far.
    """

    phase: str = "idle"
    index: int = 0
    checked: int = 0
    count: int = 0


class Journal:
    """The newest entry of a child process, in a file that both processes map into memory.

    The parent can draw a case again from its index, so an entry is only a few numbers. Writing one
    takes about a microsecond.

    Args:
        path: the file, which is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._count = 0

    def note(self, phase: str, index: int = 0, checked: int = 0) -> None:
        """Overwrite the last entry with a new one."""
        self._count += 1
        _ENTRY_FORMAT.pack_into(self._map, 0, PHASES.index(phase), index, checked, self._count)

    def read(self) -> Entry:
        """Read the newest entry."""
        phase, index, checked, count = _ENTRY_FORMAT.unpack_from(self._map, 0)
        return Entry(PHASES[phase], index, checked, count)

    def note_copies_fail(self) -> None:
        """Note that copies of this process die or hang; later entries keep that."""
        _COPIES_FAIL_FORMAT.pack_into(self._map, _ENTRY_FORMAT.size, 1)

    def copies_fail(self) -> bool:
        """Whether copies of the process die or hang, as far as it has noted."""
        return bool(_COPIES_FAIL_FORMAT.unpack_from(self._map, _ENTRY_FORMAT.size)[0])

    def close(self) -> None:
        """Unmap the file from memory."""
        self._map.close()
