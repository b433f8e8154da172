"""The windows of pooling: their positions, and the elements of a plane in each.

Sources: the pages torch.nn.MaxPool1d to MaxPool3d and AvgPool1d to AvgPool3d of the PyTorch
documentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.choices import take
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.convolution import per_dimension

Shape = tuple[int, ...]
Size = int | Sequence[int]


@dataclass(frozen=True)
class Window:
    """The windows along one spatial dimension.

    Args:
        length: of the input.
        kernel, stride, padding, dilation: as the arguments.
        ceil: the last window may extend beyond the input.
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

        A window that would start in the right padded region is ignored. The page of MaxPool1d
        prints ⌈(L + 2·padding − dilation·(kernel − 1) − 1 + (stride − 1)) / stride⌉ + 1, which
        rounds up twice: 2 windows of size 3 with stride 2 in a length of 3. The page's own text,
        and the pages of all other poolings, only replace ⌊…⌋ by ⌈…⌉. torch computes that: 1 window.
        """
        span = self.length + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        if not self.ceil:
            return span // self.stride + 1
        count = -(-span // self.stride) + 1
        starts_beyond = (count - 1) * self.stride >= self.length + self.padding
        return count - 1 if starts_beyond else count

    @property
    def positions(self) -> np.ndarray:
        """Position in the input of each tap of each window: (outputs, kernel)."""
        starts = np.arange(self.outputs) * self.stride - self.padding
        return starts[:, np.newaxis] + self.dilation * np.arange(self.kernel)


def make_windows(
    sizes: Shape, kernel: Size, stride: Size | None, padding: Size, dilation: Size, ceil: bool
) -> tuple[Window, ...]:
    """A `Window` for each spatial dimension; a stride of None is the kernel's size.

    Args:
        sizes: the input's spatial sizes.
        kernel, stride, padding, dilation, ceil: as the arguments.
    """
    dims = len(sizes)
    sizes_by_name = (kernel, kernel if stride is None else stride, padding, dilation)
    kernels, strides, paddings, dilations = (per_dimension(size, dims) for size in sizes_by_name)
    return tuple(
        Window(sizes[k], kernels[k], strides[k], paddings[k], dilations[k], ceil)
        for k in range(dims)
    )


@dataclass(frozen=True, eq=False)
class Taps:
    """The elements of a plane in each window.

    Args:
        index: index of each tap in the flat plane, 0 for taps outside: (windows, taps).
        inside: whether each tap lies in the plane: (windows, taps).
        outputs: number of windows in each dimension.
        plane: number of elements in each dimension.
    """

    index: np.ndarray
    inside: np.ndarray
    outputs: Shape
    plane: Shape

    def shape(self, x: Rounded) -> Shape:
        """The output's shape for an input."""
        return (*x.shape[: len(x.shape) - len(self.plane)], *self.outputs)

    def gather(self, x: Rounded, fill: float) -> Rounded:
        """The input's elements in each window: (*, plane) → (*, windows, taps).

        Args:
            fill: the value of taps outside the plane.
        """
        leading = x.shape[: len(x.shape) - len(self.plane)]
        flat = x.map(lambda array: array.reshape(*leading, math.prod(self.plane)))
        return take(flat, self.index, -1, inside=self.inside, fill=fill)


def combine_taps(places: Sequence[np.ndarray], insides: Sequence[np.ndarray], plane: Shape) -> Taps:
    """The taps of multidimensional windows, from the taps along each dimension.

    Args:
        places: for each dimension the position of each tap of each window: (outputs, kernel).
        insides: whether that position lies in the input, in the same form.
        plane: number of elements in each dimension.
    """
    index, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    for length, axis_positions, axis_inside in zip(plane, places, insides, strict=True):
        axis_index = np.where(axis_inside, axis_positions, 0)
        size = index.shape[0] * axis_index.shape[0], index.shape[1] * axis_index.shape[1]
        before = (slice(None), np.newaxis, slice(None), np.newaxis)
        after = (np.newaxis, slice(None), np.newaxis, slice(None))
        index = (index[before] * length + axis_index[after]).reshape(size)
        inside = (inside[before] & axis_inside[after]).reshape(size)
    return Taps(index, inside, tuple(len(axis_positions) for axis_positions in places), plane)


def window_taps(windows: Sequence[Window]) -> Taps:
    """The taps of multidimensional windows.

    Args:
        windows: one `Window` for each spatial dimension.
    """
    places = [window.positions for window in windows]
    insides = [
        (axis_positions >= 0) & (axis_positions < window.length)
        for axis_positions, window in zip(places, windows, strict=True)
    ]
    return combine_taps(places, insides, tuple(window.length for window in windows))
