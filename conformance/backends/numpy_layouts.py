"""NumPy arrays in the memory layouts that a case can ask for."""

from __future__ import annotations

import itertools
import zlib

import numpy as np

from ..case import Unsupported


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in another memory layout.

    Where a layout has several forms (which axes are swapped, sliced or enlarged) the bytes of the
    array decide, so that a case is always put alike and all forms come up.

    Args:
        array: C-contiguous.
        layout: of the contract.

    Raises:
        Unsupported: if the shape has no such layout.
    """
    if layout == "contiguous":
        return array
    form = zlib.crc32(array.tobytes())
    long = [axis for axis, size in enumerate(array.shape) if size > 1]
    pairs = list(itertools.combinations(long, 2))
    if layout == "channels_last" and array.ndim in (4, 5):
        return np.moveaxis(np.moveaxis(array, 1, -1).copy(order="C"), -1, 1)
    if layout == "transposed" and pairs:
        a, b = pairs[form % len(pairs)]
        return array.swapaxes(a, b).copy(order="C").swapaxes(a, b)
    if layout == "sliced" and long:
        chosen = {long[-1], *(long if form % 2 else ())}
        room = [n * (1 + (axis in chosen)) for axis, n in enumerate(array.shape)]
        every = tuple(slice(None, None, 1 + (axis in chosen)) for axis in range(array.ndim))
        return _filled(array, room, every)
    if layout == "offset":
        if form % 2 == 0 and array.ndim:
            return _filled(array, [n + 2 for n in array.shape], (slice(1, -1),) * array.ndim)
        return _filled(array.reshape(-1), [array.size + 2], (slice(1, -1),)).reshape(array.shape)
    if layout == "expanded":
        return _expanded(array)
    raise Unsupported(f"layout={layout!r} of shape {array.shape}")


def _filled(array: np.ndarray, room: list[int], place: tuple[slice, ...]) -> np.ndarray:
    """A view of memory that shows where it is read by mistake."""
    spoiled = -(2**40) if array.dtype.kind == "i" else np.nan
    view = np.full(room, spoiled, dtype=array.dtype)[place]
    view[...] = array
    return view


def _expanded(array: np.ndarray) -> np.ndarray:
    """A view that repeats the elements of every axis along which the array is constant."""
    first = array
    for axis, size in enumerate(array.shape):
        head = first.take([0], axis) if size > 1 else first
        if array.size and np.array_equal(np.broadcast_to(head, first.shape), first):
            first = head
    if first.shape == array.shape:
        raise Unsupported(f"layout='expanded' of shape {array.shape}")
    return np.broadcast_to(first, array.shape)
