"""The memory layouts of the contract for MLX arrays, as views that MLX makes without a copy."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from conformance.backends.numpy_layouts import repeated, room, spoiled, swapped
from conformance.model.case import Unsupported


def laid_out(native: Any, array: np.ndarray, layout: str) -> Any:
    """Put an MLX array into another memory layout; the host array chooses the layout's variant."""
    if layout == "channels_last" and native.ndim in (4, 5):
        return mx.moveaxis(mx.contiguous(mx.moveaxis(native, 1, -1)), -1, 1)
    if layout == "transposed" and (pair := swapped(array)):
        return mx.contiguous(native.swapaxes(*pair)).swapaxes(*pair)
    if found := room(array, layout):
        size, place = found
        memory = mx.full(size, spoiled(native.dtype == mx.int64), native.dtype)
        memory[place] = native.reshape(memory[place].shape)
        return memory[place].reshape(native.shape)
    if layout == "expanded" and (first := repeated(array)) is not None:
        return mx.broadcast_to(native[tuple(slice(n) for n in first.shape)], native.shape)
    raise Unsupported(f"layout={layout!r} of shape {native.shape}")
