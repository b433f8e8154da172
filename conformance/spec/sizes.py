"""Arrays and sizes fitted to other arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array's elements, along each axis the first ones, or repeated as the shape asks for."""
    if array.ndim != len(shape) or not array.size:
        return array if array.shape == shape else np.resize(array, shape)
    for axis, size in enumerate(shape):
        if array.shape[axis] != size:
            array = np.take(array, np.arange(size) % array.shape[axis], axis)
    return array


def sizes_of(value: Any) -> tuple[int, ...]:
    """A size as a tuple, be it one number or several."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def per_dimension(size: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """One number for every spatial dimension: an int stands for all of them."""
    if isinstance(size, int):
        return (size,) * dims
    return tuple(size) * (dims if len(size) == 1 else 1)
