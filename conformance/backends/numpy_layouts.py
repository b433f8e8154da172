"""The memory layouts that a case can ask for, in NumPy; other arrays take the same forms.

Where a layout has several forms (which axes are swapped, sliced or enlarged) the bytes of the array
decide, so that a case is always put alike and all forms come up.
"""

from __future__ import annotations

import itertools
import zlib

import numpy as np

from conformance.model.case import Unsupported

Room = tuple[list[int], tuple[slice, ...]]


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in another memory layout.

    Args:
        array: C-contiguous.
        layout: of the contract.

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
    """The axes that change places in memory where an array is transposed."""
    pairs = list(itertools.combinations(_long(array), 2))
    return pairs[_form(array) % len(pairs)] if pairs else None


def room(array: np.ndarray, layout: str) -> Room | None:
    """The shape of larger memory, and the part of it that is the array or its elements in a row.

    Args:
        array: C-contiguous.
        layout: `"sliced"` or `"offset"`; any other has none.
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
    """What shows in memory that is read by mistake."""
    return -(2**40) if integer else np.nan


def repeated(array: np.ndarray) -> np.ndarray | None:
    """The array without the repetitions along every axis of which all elements are alike."""
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
