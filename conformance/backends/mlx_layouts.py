"""Memory layouts of MLX arrays: views that MLX makes without copying."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from ..case import Unsupported


def laid_out(native: Any, array: np.ndarray, layout: str) -> Any:
    """The same numbers as a view with other strides, a larger buffer, or none along an axis."""
    long = [axis for axis, size in enumerate(array.shape) if size > 1]
    gap = mx.array(np.full(array.shape, -1 if array.dtype.kind == "i" else np.nan), native.dtype)
    if layout == "channels_last" and native.ndim in (4, 5):
        return mx.moveaxis(mx.contiguous(mx.moveaxis(native, 1, -1)), -1, 1)
    if layout == "transposed" and len(long) > 1:
        return mx.contiguous(native.swapaxes(long[0], long[-1])).swapaxes(long[0], long[-1])
    if layout == "sliced" and long:
        return mx.stack([native, gap], -1).reshape(*native.shape[:-1], -1)[..., ::2]
    if layout == "offset":
        return mx.concatenate([gap.flatten()[:1], native.flatten()])[1:].reshape(native.shape)
    if layout == "expanded":
        for axis in long:
            head = array.take([0], axis)
            if np.array_equal(np.broadcast_to(head, array.shape), array):
                return mx.broadcast_to(mx.take(native, mx.array([0]), axis), native.shape)
    raise Unsupported(f"layout={layout!r} of shape {native.shape}")
