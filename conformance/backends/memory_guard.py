"""The memory guard in the process that runs the backend: which memory lies against a guarded page.

`isolation/memory_guard.c` is the allocator. Without it the functions here do nothing.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np

from conformance.model.uninitialized import FILL_BYTE

MESSAGE_PREFIX = "memory guard: "
"""How each message of the allocator begins."""
_BEHIND, _BEFORE, _OPERANDS = 1, 2, 4
ALIGNMENT = 64
"""Bytes of the alignment that torch requests for every tensor."""


class _Guard:
    """The allocator of this process, and the side on which its pages without access lie."""

    def __init__(self, allocator: ctypes.CDLL, message: int) -> None:
        self.allocator, self.message, self.side = allocator, message, _BEHIND

    @contextmanager
    def placing(self, flags: int) -> Iterator[None]:
        """Guard the blocks that are allocated inside the `with` block."""
        previous = self.allocator.guard_mode(self.side | flags)
        try:
            yield
        finally:
            self.allocator.guard_mode(previous)


_guard: _Guard | None = None
_UNGUARDED: AbstractContextManager[None] = nullcontext()


def start_guard() -> str:
    """Start the allocator that was loaded before this process; return an error, or nothing."""
    global _guard
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "guard_start"):
        return "the memory guard's allocator was not loaded before the process: see LD_PRELOAD"
    allocator.guard_start.restype = ctypes.c_void_p
    allocator.guard_start.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t)
    allocator.guard_count.restype = ctypes.c_size_t
    message = allocator.guard_start(FILL_BYTE, *_interpreter_code())
    if not message:
        return "the memory guard could not reserve 16 GiB of address space: see ulimit -v"
    _guard = _Guard(allocator, message)
    return ""


def _interpreter_code() -> tuple[int, int]:
    """First address of Python's own code, and the address behind it.

    Python's objects need no guard. There are many, above all while modules are imported.
    """
    function = ctypes.cast(ctypes.pythonapi.PyMem_RawMalloc, ctypes.c_void_p).value or 0
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        begin, _, end = line.partition(" ")[0].partition("-")
        if int(begin, 16) <= function < int(end, 16):
            return int(begin, 16), int(end, 16)
    return 0, 0


def watch_faults() -> None:
    """Report forbidden accesses again, after another handler of the signal was removed."""
    if _guard is not None:
        _guard.allocator.guard_watch()


def sides() -> Iterator[None]:
    """Yield once for each side on which memory is guarded: behind it and before it.

    Without a guard, yield once.
    """
    if _guard is None:
        yield
        return
    for side in (_BEHIND, _BEFORE):
        _guard.allocator.guard_case()
        _guard.side = side
        yield


def is_guarding() -> bool:
    """Whether the guard is on, which places the memory of one call at a time."""
    return _guard is not None


def guarded_memory(*, operands: bool = False) -> AbstractContextManager[None]:
    """Guard the memory that the backend allocates inside the `with` block.

    Args:
        operands: the memory is for operands, which touch the guarded page without any gap.
    """
    return _UNGUARDED if _guard is None else _guard.placing(_OPERANDS * operands)


def place_operand(array: np.ndarray) -> np.ndarray:
    """Copy an array to guarded memory; without a guard, return the array itself.

    NumPy reuses the memory of small arrays, so their allocation alone is not guarded.
    """
    if _guard is None or not array.size:
        return array
    pointer, allocator = ctypes.c_void_p(), _guard.allocator
    with guarded_memory(operands=True):
        failed = allocator.posix_memalign(
            ctypes.byref(pointer), ctypes.c_size_t(ALIGNMENT), ctypes.c_size_t(array.nbytes)
        )
    if failed or pointer.value is None:
        raise MemoryError(f"no guarded memory of {array.nbytes} bytes")
    buffer = (ctypes.c_char * array.nbytes).from_address(pointer.value)
    weakref.finalize(buffer, allocator.free, pointer)
    copy: np.ndarray = np.frombuffer(memoryview(buffer), array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def clear_message() -> None:
    """Forget the last message of the allocator."""
    if _guard is not None:
        ctypes.memset(_guard.message, 0, 1)


def last_message() -> str:
    """What the allocator reported, in this process or in a copy of it; empty if nothing."""
    if _guard is None:
        return ""
    return ctypes.string_at(_guard.message).decode("ascii", "replace").strip()


def count_blocks(*, passed: bool = False) -> int:
    """How many blocks were guarded, or how many were not because there were too many."""
    return 0 if _guard is None else int(_guard.allocator.guard_count(passed))
