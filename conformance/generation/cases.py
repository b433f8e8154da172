"""Sequences of cases, with a limit on the memory that they take."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from typing import IO, overload

from conformance.model.case import Case

# With more examples than this an item takes minutes, and memory matters more than time.
MANY_CASES = 1024
# Bytes of arrays to keep in memory, enough for all cases of a layer in the standard profile. The
# oracle's answers to these cases are kept, too, so the limit is lower if there are many cases.
MEMORY_LIMIT, MEMORY_LIMIT_OF_MANY = 32 << 20, 8 << 20
# A case with at most this number of bytes always stays in memory.
SMALL_CASE_BYTES = 8192


class StoredCases(Sequence[Case]):
    """Cases in the order in which they were added; large ones beyond the limit are in a file.

    The file has no name and disappears with the process. Each access to a case in it reads it anew.

    Args:
        memory_limit: bytes of arrays to keep in memory.
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT) -> None:
        self._cases: list[Case | tuple[int, int]] = []
        self._bytes_left = memory_limit
        self._file: IO[bytes] | None = None

    def add(self, case: Case) -> None:
        """Append a case, in memory if it is small or within the limit, else in the file."""
        size = sum(x.nbytes for x in case.operands)
        if size <= SMALL_CASE_BYTES or size <= self._bytes_left:
            self._bytes_left -= size
            self._cases.append(case)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - as long as they are
        data = pickle.dumps(case, pickle.HIGHEST_PROTOCOL)
        self._cases.append((self._file.seek(0, 2), len(data)))
        self._file.write(data)

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> Case: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Case, ...]: ...

    def __getitem__(self, index: int | slice) -> Case | tuple[Case, ...]:
        if isinstance(index, slice):
            return tuple(self[k] for k in range(len(self))[index])
        case = self._cases[index]
        if isinstance(case, Case):
            return case
        assert self._file is not None
        start, size = case
        self._file.seek(start)
        found = pickle.loads(self._file.read(size))
        assert isinstance(found, Case)
        return found


class EveryNth(Sequence[Case]):
    """Every n-th of some cases.

    Args:
        cases: all cases.
        step: n.
        first: index of the first one.
    """

    def __init__(self, cases: Sequence[Case], step: int, first: int = 0) -> None:
        self._cases, self._places = cases, range(first, len(cases), step)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Case: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Case, ...]: ...

    def __getitem__(self, index: int | slice) -> Case | tuple[Case, ...]:
        places = self._places[index]
        return (
            self._cases[places]
            if isinstance(places, int)
            else tuple(self._cases[k] for k in places)
        )


class Arranged(Sequence[Case]):
    """Some of the drawn cases, and others after them.

    Args:
        cases: the drawn cases.
        places: indices of those that are taken.
        last: the other cases.
    """

    def __init__(self, cases: Sequence[Case], places: Sequence[int], last: Sequence[Case]) -> None:
        self._cases, self.places, self._last = cases, places, last

    def __len__(self) -> int:
        return len(self.places) + len(self._last)

    @overload
    def __getitem__(self, index: int) -> Case: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Case, ...]: ...

    def __getitem__(self, index: int | slice) -> Case | tuple[Case, ...]:
        wanted = range(len(self))[index]
        if isinstance(wanted, range):
            return tuple(self[k] for k in wanted)
        if wanted < len(self.places):
            return self._cases[self.places[wanted]]
        return self._last[wanted - len(self.places)]
