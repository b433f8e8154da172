"""The memory layouts of the contract for NumPy arrays; other backends use the same variants.

A layout has several variants: which axes are swapped, sliced or enlarged. The bytes of the array
choose one, so a case always has the same variant and different cases cover all of them.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass

import numpy as np

from conformance.model.case import Unsupported

EnlargedMemory = tuple[list[int], tuple[slice, ...]]


def apply_layout(array: np.ndarray, layout: str) -> np.ndarray:
    """Copy a C-contiguous array into another memory layout of the contract.

    Raises:
        Unsupported: if the shape has no such layout.
    """
    if layout == "contiguous":
        return array
    if layout == "channels_last" and array.ndim in (4, 5):
        return np.moveaxis(np.moveaxis(array, 1, -1).copy(order="C"), -1, 1)
    if layout == "transposed" and (pair := swapped_axes(array)):
        return array.swapaxes(*pair).copy(order="C").swapaxes(*pair)
    if enlarged := enlarged_memory(array, layout):
        size, place = enlarged
        memory = np.full(size, gap_value(array.dtype.kind == "i"), dtype=array.dtype)
        view = memory[place].reshape(array.shape)
        view[...] = array
        return view
    if layout == "expanded" and (first := unexpanded(array)) is not None:
        return np.broadcast_to(first, array.shape)
    if layout == "unfolded" and (windows := overlapping_windows(array)):
        signal = windows.signal(array)
        views = np.lib.stride_tricks.sliding_window_view(
            signal, array.shape[windows.axis], windows.place
        )
        every = (slice(None),) * windows.place + (slice(None, None, windows.step),)
        return views[every].transpose(windows.order(array.ndim))
    raise Unsupported(f"layout={layout!r} of shape {array.shape}")


def swapped_axes(array: np.ndarray) -> tuple[int, int] | None:
    """The two axes that the layout `"transposed"` swaps in memory; None if it has no such axes."""
    pairs = list(itertools.combinations(_axes_above_one(array), 2))
    return pairs[_layout_variant(array) % len(pairs)] if pairs else None


def enlarged_memory(array: np.ndarray, layout: str) -> EnlargedMemory | None:
    """Shape of a larger block of memory, and the slices of it that hold the array.

    The slices select the array itself, or all of its elements as one axis. None for layouts other
    than `"sliced"` and `"offset"`.
    """
    variant, long_axes = _layout_variant(array) % 2, _axes_above_one(array)
    if layout == "sliced" and long_axes:
        sliced_axes = {long_axes[-1], *(long_axes if variant else ())}
        steps = [1 + (axis in sliced_axes) for axis in range(array.ndim)]
        size = [n * step for n, step in zip(array.shape, steps, strict=True)]
        return size, tuple(slice(None, None, step) for step in steps)
    if layout == "offset":
        shape = (array.size,) if variant or not array.ndim else array.shape
        return [n + 2 for n in shape], (slice(1, -1),) * len(shape)
    return None


def gap_value(integer: bool) -> float:
    """The value of gaps between elements, which makes it visible if they are read by mistake."""
    return -(2**40) if integer else np.nan


def unexpanded(array: np.ndarray) -> np.ndarray | None:
    """Reduce each axis along which all elements are equal to size 1; None if there is none."""
    first = array
    for axis, size in enumerate(array.shape):
        head = first.take([0], axis) if size > 1 else first
        if array.size and np.array_equal(np.broadcast_to(head, first.shape), first):
            first = head
    return None if first.shape == array.shape else first


@dataclass(frozen=True)
class Windows:
    """How an array is a view of overlapping windows of a signal.

    Args:
        frames: the axis that counts the windows.
        axis: the axis within a window.
        step: how many places further each window begins.
    """

    frames: int
    axis: int
    step: int

    @property
    def place(self) -> int:
        """The axis of the signal that the windows are of; the signal lacks `frames`."""
        return self.axis - (self.frames < self.axis)

    def order(self, ndim: int) -> tuple[int, ...]:
        """The axes of the array among those of the view, whose last one is within a window."""
        others = (axis - (self.frames < axis) for axis in range(ndim))
        return tuple(
            self.place if axis == self.frames else ndim - 1 if axis == self.axis else other
            for axis, other in enumerate(others)
        )

    def signal(self, array: np.ndarray) -> np.ndarray:
        """The first window, and of each further one what no window before it has."""
        first, *further = np.moveaxis(array, self.frames, 0)
        tail = (slice(None),) * self.place + (slice(-self.step, None),)
        return np.concatenate([first, *(window[tail] for window in further)], self.place)


def overlapping_windows(array: np.ndarray) -> Windows | None:
    """The windows as which an array's numbers can lie in memory; None if there are none."""
    *others, axis = _axes_above_one(array) or [0]
    for frames in others:
        parts = np.moveaxis(array, (frames, axis), (0, -1))
        for step in window_steps(array.shape[axis]):
            if np.array_equal(parts[1:, ..., :-step], parts[:-1, ..., step:]):
                return Windows(frames, axis, step)
    return None


def window_steps(size: int) -> list[int]:
    """The steps that windows of a size may have: 1, half of it, and one less than it."""
    return sorted({1, max(size // 2, 1), size - 1})


def _layout_variant(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def _axes_above_one(array: np.ndarray) -> list[int]:
    return [axis for axis, size in enumerate(array.shape) if size > 1]
