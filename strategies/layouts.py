"""Memory layouts: their names, and the layouts that a shape allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LAYOUTS = ("contiguous", "channels_last", "transposed", "sliced", "offset", "expanded")


def list_layouts(shape: Sequence[int]) -> tuple[str, ...]:
    """The layouts that differ from `contiguous` in memory for a tensor of some shape."""
    long_axes = sum(size > 1 for size in shape)
    if 0 in shape:
        return ("offset",)
    layouts = ["channels_last"] if len(shape) in (4, 5) and long_axes > 1 else []
    layouts += ["transposed"] if long_axes > 1 else []
    layouts += ["sliced", "expanded"] if long_axes else []
    return (*layouts, "offset")


def repeat_first(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Repeat the first element along the axes: such an array can have the layout `expanded`."""
    first = array
    for axis in axes:
        first = first.take([0], axis)
    return np.ascontiguousarray(np.broadcast_to(first, array.shape))
