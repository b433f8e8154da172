"""Memory layouts: their names, and the layouts that a shape allows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

LAYOUTS = (
    "contiguous", "channels_last", "transposed", "sliced", "offset", "expanded", "unfolded"
)  # fmt: skip


def list_layouts(shape: Sequence[int]) -> tuple[str, ...]:
    """The layouts that differ from `contiguous` in memory for a tensor of some shape.

    Without `unfolded`, which only inputs have, where two axes are longer than 1.
    """
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


def overlap(array: np.ndarray, frames: int, axis: int, step: int) -> np.ndarray:
    """Make an array's parts along `frames` windows of one signal: it can be `unfolded`.

    Args:
        array: its elements are kept where no two windows share a place.
        frames: the axis that counts the windows.
        axis: the axis within a window.
        step: how many places further each window begins, less than the size of `axis`.
    """
    result = np.moveaxis(array.copy(), (frames, axis), (0, -1))
    for first, second in itertools.pairwise(result):
        second[..., :-step] = first[..., step:]
    return np.ascontiguousarray(np.moveaxis(result, (0, -1), (frames, axis)))
