"""What memory holds that nobody has written to, where the suite has its allocator fill it."""

from __future__ import annotations

import numpy as np

FILLED = 0xFE
"""Each byte of memory that is handed out."""


def _numbers() -> tuple[float, ...]:
    """Such memory read as float64, float32 and bfloat16; as float16 it is NaN."""
    of = bytes([FILLED])
    double, single = np.frombuffer(of * 8, np.float64), np.frombuffer(of * 4, np.float32)
    brain = np.frombuffer(b"\0\0" + of * 2, "<f4")
    return float(double[0]), float(single[0]), float(brain[0])


NUMBERS = _numbers()


def unwritten(array: np.ndarray) -> int:
    """How many elements hold what their memory was filled with.

    Args:
        array: floating or complex numbers on the host.
    """
    return int(np.isin(array.real, NUMBERS).sum()) if array.dtype.kind in "fc" else 0
