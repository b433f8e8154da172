"""The memory layouts of the contract for MLX arrays, as views that MLX makes without a copy."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from conformance.backends.numpy_layouts import enlarged_memory, gap_value, swapped_axes, unexpanded
from conformance.model.case import Unsupported


def apply_layout(native: Any, array: np.ndarray, layout: str) -> Any:
    """Put an MLX array into another memory layout; the host array chooses the layout's variant."""
    if layout == "channels_last" and native.ndim in (4, 5):
        return mx.moveaxis(mx.contiguous(mx.moveaxis(native, 1, -1)), -1, 1)
    if layout == "transposed" and (pair := swapped_axes(array)):
        return mx.contiguous(native.swapaxes(*pair)).swapaxes(*pair)
    if enlarged := enlarged_memory(array, layout):
        size, place = enlarged
        # mx.full gives no booleans, whatever its dtype is.
        memory = mx.full(size, gap_value(native.dtype == mx.int64)).astype(native.dtype)
        memory[place] = native.reshape(memory[place].shape)
        return memory[place].reshape(native.shape)
    if layout == "expanded" and (first := unexpanded(array)) is not None:
        return mx.broadcast_to(native[tuple(slice(n) for n in first.shape)], native.shape)
    raise Unsupported(f"layout={layout!r} of shape {native.shape}")
