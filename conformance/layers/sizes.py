"""Arrays and sizes fitted to other arguments."""

from __future__ import annotations

from typing import Any

import numpy as np


def resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array's elements, repeated as often as the shape asks for."""
    return array if array.shape == shape else np.resize(array, shape)


def sizes_of(value: Any) -> tuple[int, ...]:
    """A size as a tuple, be it one number or several."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
