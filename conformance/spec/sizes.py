"""Helpers that adapt arrays and sizes to other arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut or repeat the array's elements along each axis until it has the shape."""
    if array.ndim != len(shape) or not array.size:
        return array if array.shape == shape else np.resize(array, shape)
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            array = np.take(array, np.arange(size) % array.shape[axis], axis)
    return array


def as_size_tuple(value: Any) -> tuple[int, ...]:
    """Return a size, one number or several, as a tuple."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def per_dimension(size: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """Return one number for each spatial dimension: an int stands for all of them."""
    if isinstance(size, int):
        return (size,) * dims
    return tuple(size) * (dims if len(size) == 1 else 1)
