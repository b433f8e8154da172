"""The values of unwritten memory, if the suite's allocator fills it with a known byte."""

from __future__ import annotations

import numpy as np

FILL_BYTE = 0xFE
"""The byte with which the allocator fills new memory."""


def _fill_values() -> tuple[float, ...]:
    """The fill read as float64, float32 and bfloat16; read as float16 it is NaN."""
    fill = bytes([FILL_BYTE])
    double, single = np.frombuffer(fill * 8, np.float64), np.frombuffer(fill * 4, np.float32)
    brain = np.frombuffer(b"\0\0" + fill * 2, "<f4")
    return float(double[0]), float(single[0]), float(brain[0])


FILL_VALUES = _fill_values()


def count_unwritten(array: np.ndarray) -> int:
    """How many elements of a floating-point or complex array still hold the fill; else 0."""
    return int(np.isin(array.real, FILL_VALUES).sum()) if array.dtype.kind in "fc" else 0
