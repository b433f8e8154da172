"""Pooling.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes in place of arrays.

Sources: the pages torch.nn.MaxPool2d and torch.nn.functional.max_pool2d of the PyTorch
documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.reductions import maximum
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.convolution import per_dimension

Shape = tuple[int, ...]
Size = int | Sequence[int]
State = Mapping[str, Rounded]


@dataclass(frozen=True)
class Window:
    """The window of one spatial dimension.

    Args:
        length: of the input.
        kernel, stride, padding, dilation: as the arguments.
        ceil: a last window may go off-bounds.
    """

    length: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    ceil: bool

    @property
    def outputs(self) -> int:
        """⌊(L + 2·padding − dilation·(kernel − 1) − 1) / stride + 1⌋, or ⌈…⌉.

        A window that would start in the right padded region is ignored.
        """
        room = self.length + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        if not self.ceil:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        starts_beyond = (count - 1) * self.stride >= self.length + self.padding
        return count - 1 if starts_beyond else count

    @property
    def places(self) -> np.ndarray:
        """Position in the input of each tap of each window: (outputs, kernel)."""
        starts = np.arange(self.outputs) * self.stride - self.padding
        return starts[:, np.newaxis] + self.dilation * np.arange(self.kernel)


def max_pool2d(
    state: State,
    input: Rounded,
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    return_indices: bool = False,
    ceil_mode: bool = False,
) -> tuple[Rounded | Choices, ...]:
    """out(N, C, h, w) = max over m, n of input(N, C, stride[0]·h + m, stride[1]·w + n)."""
    sizes = input.shape[-2:]
    windows = _windows(sizes, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool(input, windows, indices=return_indices)


def max_pool2d_shape(
    input: Shape,
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    return_indices: bool = False,
    ceil_mode: bool = False,
) -> tuple[Shape, ...]:
    """(*, H, W) → (*, H_out, W_out), twice with the indices."""
    windows = _windows(input[-2:], kernel_size, stride, padding, dilation, ceil_mode)
    shape = (*input[:-2], *(w.outputs for w in windows))
    return (shape, shape) if return_indices else (shape,)


def _windows(
    sizes: Shape, kernel: Size, stride: Size | None, padding: Size, dilation: Size, ceil: bool
) -> tuple[Window, ...]:
    """A window for each spatial dimension; a stride left out is the kernel's size."""
    dims = len(sizes)
    given = (kernel, kernel if stride is None else stride, padding, dilation)
    kernels, strides, paddings, dilations = (per_dimension(size, dims) for size in given)
    return tuple(
        Window(sizes[k], kernels[k], strides[k], paddings[k], dilations[k], ceil)
        for k in range(dims)
    )


def _max_pool(
    input: Rounded, windows: Sequence[Window], *, indices: bool
) -> tuple[Rounded | Choices, ...]:
    """The largest element of each window, and its index in the plane.

    An element is copied: no rounding. In a backward pass overlapping windows add up.
    """
    places, inside = _taps(windows)
    leading = input.shape[: -len(windows)]
    shape = (*leading, *(w.outputs for w in windows))
    planes = input.map(lambda x: x.reshape(*leading, math.prod(w.length for w in windows)))
    # (*, windows, taps); the padding is negative infinity.
    seen = take(planes, places, -1, inside=inside, fill=-np.inf)
    values = maximum(seen, -1).map(lambda x: x.reshape(shape))
    return (values, _indices(seen, places, inside, shape)) if indices else (values,)


def _taps(windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """The index of each tap in the flat plane, and whether it lies inside: (windows, taps)."""
    index, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    for window in windows:
        place = window.places
        within = (place >= 0) & (place < window.length)
        place = np.where(within, place, 0)
        size = index.shape[0] * place.shape[0], index.shape[1] * place.shape[1]
        before = (slice(None), np.newaxis, slice(None), np.newaxis)
        after = (np.newaxis, slice(None), np.newaxis, slice(None))
        index = (index[before] * window.length + place[after]).reshape(size)
        inside = (inside[before] & within[after]).reshape(size)
    return index, inside


def _indices(
    seen: Rounded, places: np.ndarray, inside: np.ndarray, shape: Shape
) -> Rounded | Choices:
    """The index of a largest element: of several any, since the documentation names none.

    NaN is the largest where there is one. Of a window that hops over the input nothing is known.
    """
    value, error = seen.value, seen.error
    if not value.size:
        return Rounded(np.zeros(shape), np.zeros(shape), seen.precision)
    least = np.where(inside, value - error, -np.inf).max(axis=-1, keepdims=True)
    largest = inside & ((value + error >= least) | np.isnan(value))
    # NaN compares as false, so that where there is one nothing else is the largest.
    counts = largest.sum(axis=-1)
    first = np.argsort(~largest, axis=-1, kind="stable")
    unknown = np.where(counts == 0, np.inf, 0.0).reshape(shape)
    found = []
    for k in range(max(int(counts.max()), 1)):
        tap = np.take_along_axis(first, np.where(k < counts, k, 0)[..., np.newaxis], -1)
        index = np.take_along_axis(np.broadcast_to(places, value.shape), tap, -1)
        found.append(Rounded(index.reshape(shape).astype(float), unknown, seen.precision))
    return found[0] if len(found) == 1 else Choices(tuple(found))
