"""The cases of an item as a sequence of which only so much lies in memory."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Sequence
from typing import IO, overload

from conformance.model.case import Case

# With more examples than that an item takes minutes: memory is dearer than time.
MANY = 1024
# Bytes of arrays that are kept in memory. All that the standard profile draws of a layer fits. The
# oracle's answers to these cases are kept, too, hence less of them where there are many.
KEPT, KEPT_OF_MANY = 32 << 20, 8 << 20
# Bytes of a case's arrays that are kept in any case.
SMALL = 8192


class Cases(Sequence[Case]):
    """Cases in the order in which they were added; large ones beyond the limit lie in a file.

    The file has no name, and is gone with the process. What lies there is read anew each time.

    Args:
        kept: bytes of arrays that are kept in memory.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._cases: list[Case | tuple[int, int]] = []
        self._left = kept
        self._file: IO[bytes] | None = None

    def add(self, case: Case) -> None:
        """One more case."""
        size = sum(x.nbytes for x in case.operands)
        if size <= SMALL or size <= self._left:
            self._left -= size
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


class Every(Sequence[Case]):
    """Every n-th of some cases, from the first on.

    Args:
        cases: all of them.
        step: n.
    """

    def __init__(self, cases: Sequence[Case], step: int) -> None:
        self._cases, self._places = cases, range(0, len(cases), step)

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


class Ending(Sequence[Case]):
    """Cases of which the last are other ones.

    Args:
        cases: at least as many.
        last: in place of the last.
    """

    def __init__(self, cases: Sequence[Case], last: Sequence[Case]) -> None:
        self._cases, self._last = cases, last

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> Case: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Case, ...]: ...

    def __getitem__(self, index: int | slice) -> Case | tuple[Case, ...]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return tuple(self[k] for k in places)
        kept = len(self) - len(self._last)
        return self._cases[places] if places < kept else self._last[places - kept]
