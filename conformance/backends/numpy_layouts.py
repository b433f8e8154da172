"""The memory layouts of the contract for NumPy arrays; other backends use the same variants.

A layout has several variants: which axes are swapped, sliced or enlarged. The bytes of the array
choose one, so a case always has the same variant and different cases cover all of them.
"""

from __future__ import annotations

import itertools
import zlib

import numpy as np

from conformance.model.case import Unsupported

Room = tuple[list[int], tuple[slice, ...]]


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """Copy a C-contiguous array into another memory layout of the contract.

    Raises:
        Unsupported: if the shape has no such layout.
    """
    if layout == "contiguous":
        return array
    if layout == "channels_last" and array.ndim in (4, 5):
        return np.moveaxis(np.moveaxis(array, 1, -1).copy(order="C"), -1, 1)
    if layout == "transposed" and (pair := swapped(array)):
        return array.swapaxes(*pair).copy(order="C").swapaxes(*pair)
    if found := room(array, layout):
        size, place = found
        memory = np.full(size, spoiled(array.dtype.kind == "i"), dtype=array.dtype)
        view = memory[place].reshape(array.shape)
        view[...] = array
        return view
    if layout == "expanded" and (first := repeated(array)) is not None:
        return np.broadcast_to(first, array.shape)
    raise Unsupported(f"layout={layout!r} of shape {array.shape}")


def swapped(array: np.ndarray) -> tuple[int, int] | None:
    """The two axes that the layout `"transposed"` swaps in memory; None if it has no such axes."""
    pairs = list(itertools.combinations(_long(array), 2))
    return pairs[_form(array) % len(pairs)] if pairs else None


def room(array: np.ndarray, layout: str) -> Room | None:
    """Shape of a larger block of memory, and the slices of it that hold the array.

    The slices select the array itself, or all of its elements as one axis. None for layouts other
    than `"sliced"` and `"offset"`.
    """
    odd, long = _form(array) % 2, _long(array)
    if layout == "sliced" and long:
        chosen = {long[-1], *(long if odd else ())}
        steps = [1 + (axis in chosen) for axis in range(array.ndim)]
        size = [n * step for n, step in zip(array.shape, steps, strict=True)]
        return size, tuple(slice(None, None, step) for step in steps)
    if layout == "offset":
        shape = (array.size,) if odd or not array.ndim else array.shape
        return [n + 2 for n in shape], (slice(1, -1),) * len(shape)
    return None


def spoiled(integer: bool) -> float:
    """The value of gaps between elements, which makes it visible if they are read by mistake."""
    return -(2**40) if integer else np.nan


def repeated(array: np.ndarray) -> np.ndarray | None:
    """Reduce each axis along which all elements are equal to size 1; None if there is none."""
    first = array
    for axis, size in enumerate(array.shape):
        head = first.take([0], axis) if size > 1 else first
        if array.size and np.array_equal(np.broadcast_to(head, first.shape), first):
            first = head
    return None if first.shape == array.shape else first


def _form(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def _long(array: np.ndarray) -> list[int]:
    return [axis for axis, size in enumerate(array.shape) if size > 1]
