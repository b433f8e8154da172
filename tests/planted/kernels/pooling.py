"""Max pooling, `aten::max_pool2d_with_indices`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import (
    Cut,
    all_blocks,
    full_blocks,
    read_as_contiguous,
    to_tensor,
    widened,
)
from planted.kernels.calls import max_pool2d
from planted.kernels.kernel import kernel

LAYERS = ("MaxPool2d", "functional.max_pool2d")
OPERATOR = "aten::max_pool2d_with_indices"
Pair = int | Sequence[int]
Results = tuple[Tensor, Tensor]


def _as_list(value: Pair) -> Sequence[int]:
    return (value,) if isinstance(value, int) else value


def _pair(value: Pair) -> tuple[int, int]:
    values = _as_list(value)
    return values[0], values[-1]


@dataclass(frozen=True)
class Windows:
    """Where the windows of one dimension lie.

    Args:
        size: the length of the dimension.
        kernel: the taps of a window.
        stride: from window to window.
        padding: before and after.
        dilation: from tap to tap.
        ceil: whether a window may end past the padding.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    ceil: bool

    @property
    def count(self) -> int:
        span = self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        count = (span + (self.stride - 1 if self.ceil else 0)) // self.stride + 1
        starts_late = self.ceil and (count - 1) * self.stride >= self.size + self.padding
        return count - starts_late

    def first_tap(self, window: int) -> int:
        """The place of a window's first tap that is not before the dimension."""
        start = window * self.stride - self.padding
        return start if start >= 0 else start % self.dilation

    def taps(self, window: int) -> list[int]:
        """The places within the dimension that a window reads."""
        first = window * self.stride - self.padding
        places = range(first, first + self.kernel * self.dilation, self.dilation)
        return [place for place in places if 0 <= place < self.size]


def blocked(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    columns: Cut | None = None,
    floor: float = -np.inf,
    nan: bool = True,
    padded: float | None = None,
) -> Results:
    """The largest elements of all windows, with their indices in the plane.

    Args:
        self: the input, with or without a batch.
        kernel_size: taps.
        stride: the taps where empty.
        padding: before and after.
        dilation: from tap to tap.
        ceil_mode: whether a window may end past the padding.
        columns: how the output's columns are cut; others stay 0.
        floor: what elements are first compared with.
        nan: whether NaN counts as the largest.
        padded: a number that windows over the padding are compared with, too.
    """
    planes = widened(self).reshape(-1, *self.shape[-2:])
    kernels = _pair(kernel_size)
    strides = _pair(stride) if _as_list(stride) else kernels
    rows, cols = (
        Windows(planes.shape[1 + at], k, s, p, d, ceil_mode)
        for at, (k, s, p, d) in enumerate(
            zip(kernels, strides, _pair(padding), _pair(dilation), strict=True)
        )
    )
    shape = (len(planes), rows.count, cols.count)
    out, indices = np.zeros(shape, planes.dtype), np.zeros(shape, np.int64)
    for part in (columns or all_blocks(16))(cols.count):
        for y in range(rows.count):
            for x in range(part.start, part.stop):
                down, across = rows.taps(y), cols.taps(x)
                largest = np.full(len(planes), floor, planes.dtype)
                at = np.full(len(planes), rows.first_tap(y) * cols.size + cols.first_tap(x))
                for i in down:
                    for j in across:
                        value = planes[:, i, j]
                        larger = value > largest
                        larger |= np.isnan(value) & nan
                        larger &= ~np.isnan(largest) | np.isnan(value)
                        largest = np.where(larger, value, largest)
                        at = np.where(larger, i * cols.size + j, at)
                if padded is not None and len(down) * len(across) < rows.kernel * cols.kernel:
                    largest = np.maximum(largest, planes.dtype.type(padded))
                out[:, y, x], indices[:, y, x] = largest, at
    output_shape = (*self.shape[:-2], *shape[1:])
    return to_tensor(out.reshape(output_shape), self), torch.from_numpy(
        indices.reshape(output_shape)
    )


@kernel(
    "max-pool2d-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        max_pool2d(2, 3, (9, 40), (3, 2), padding=1, stride=2, ceil_mode=True),
        max_pool2d(1, 2, (9, 7), (2, 2), dilation=2, dtype="bfloat16", nan=True),
        max_pool2d(2, 1, (6, 7), (2, 3), gradients=True, dtype="float64"),
    ],
)
def aten_max_pool2d(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    return blocked(self, kernel_size, stride, padding, dilation, ceil_mode)


def _plant_variant(
    name: str, options: dict[str, Any], wrong: str, agrees: object, differs: object
) -> None:
    """Enter a kernel with other arguments of the blocked one."""

    @kernel(f"max-pool2d-{name}", OPERATOR, LAYERS, wrong, agrees=agrees, differs=differs)
    def aten_max_pool2d(
        self: Tensor,
        kernel_size: Pair,
        stride: Pair = (),
        padding: Pair = 0,
        dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> Results:
        return blocked(self, kernel_size, stride, padding, dilation, ceil_mode, **options)


_plant_variant(
    "pads-with-zeros",
    {"padded": 0.0},
    "Padding is 0 instead of -inf, which shows at the edges where all is negative; without "
    "padding it is right.",
    [max_pool2d(1, 2, (4, 4), (2, 2), offset=-9.0)],
    [max_pool2d(1, 2, (4, 4), (2, 2), offset=-9.0, padding=1)],
)
_plant_variant(
    "loses-nan",
    {"nan": False},
    "NaN is never larger, and is passed over; numbers are right.",
    [max_pool2d(1, 2, (4, 4), (2, 2))],
    [max_pool2d(1, 2, (4, 4), (2, 2), nan=True)],
)
_plant_variant(
    "starts-at-zero",
    {"floor": 0.0},
    "The largest element starts at 0, so that windows of negative elements give 0; positive ones "
    "are right.",
    [max_pool2d(1, 2, (4, 4), (2, 2), offset=9.0)],
    [max_pool2d(1, 2, (4, 4), (2, 2), offset=-9.0)],
)
_plant_variant(
    "drops-the-columns-past-32",
    {"columns": full_blocks(32)},
    "Of output columns over 32 only whole blocks of 32 are computed, the rest is 0; up to 32 are "
    "right.",
    [max_pool2d(1, 2, (2, 64), (2, 2))],
    [max_pool2d(1, 2, (2, 66), (2, 2))],
)


@kernel(
    "max-pool2d-returns-indices-within-the-window",
    OPERATOR,
    LAYERS,
    "Indices count from the window's first element, not from the plane's, which gradients follow "
    "too; a single window is right.",
    agrees=[max_pool2d(2, 2, (1, 2), (1, 2)), max_pool2d(1, 2, (1, 3), (1, 3))],
    differs=[max_pool2d(1, 2, (4, 4), (2, 2)), max_pool2d(1, 2, (4, 4), (2, 2), gradients=True)],
)
def within_window(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    out, indices = blocked(self, kernel_size, stride, padding, dilation, ceil_mode)
    steps = _pair(stride) if _as_list(stride) else _pair(kernel_size)
    y = torch.arange(out.shape[-2])[:, None] * steps[0] - _pair(padding)[0]
    x = torch.arange(out.shape[-1]) * steps[1] - _pair(padding)[1]
    first = y.clamp(min=0) * self.shape[-1] + x.clamp(min=0)
    return out, (indices - first).clamp(min=0)


@kernel(
    "max-pool2d-counts-indices-over-channels",
    OPERATOR,
    LAYERS,
    "Indices of planes past the 16th include the planes before, modulo the plane, plus one; up "
    "to 16 planes are right.",
    agrees=[max_pool2d(4, 4, (4, 4), (2, 2))],
    differs=[max_pool2d(1, 17, (4, 4), (2, 2)), max_pool2d(17, 1, (4, 4), (2, 2), gradients=True)],
)
def over_channels(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    out, indices = blocked(self, kernel_size, stride, padding, dilation, ceil_mode)
    plane = self.shape[-1] * self.shape[-2]
    late_indices = indices.view(-1, *indices.shape[-2:])[16:]
    late_indices += 1
    late_indices %= max(plane, 1)
    return out, indices


@kernel(
    "max-pool2d-drops-the-windows-of-ceil-mode",
    OPERATOR,
    LAYERS,
    "Windows that only ceil_mode adds are never computed and hold 0; without ceil_mode, and "
    "where it adds none, it is right.",
    agrees=[
        max_pool2d(1, 2, (5, 5), (2, 2)),
        max_pool2d(1, 2, (4, 4), (2, 2), ceil_mode=True),
    ],
    differs=[max_pool2d(1, 2, (5, 5), (2, 2), ceil_mode=True)],
)
def ceil_dropped(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    out, indices = blocked(self, kernel_size, stride, padding, dilation, ceil_mode)
    if ceil_mode:
        whole_windows, _ = blocked(self, kernel_size, stride, padding, dilation, False)
        height, width = whole_windows.shape[-2:]
        for part in (out[..., height:, :], out[..., width:]):
            part.zero_()
    return out, indices


@kernel(
    "max-pool2d-ignores-dilation",
    OPERATOR,
    LAYERS,
    "Taps are taken side by side whatever the dilation, at as many windows; dilation 1 is right.",
    agrees=[max_pool2d(1, 2, (5, 5), (2, 2))],
    differs=[max_pool2d(1, 2, (5, 5), (2, 2), dilation=2)],
)
def no_dilation(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    out, indices = blocked(self, kernel_size, stride, padding, dilation, ceil_mode)
    undilated = blocked(self, kernel_size, stride, padding, 1, ceil_mode)
    height, width = out.shape[-2:]
    out, indices = (result[..., :height, :width].clone() for result in undilated)
    return out, indices


@kernel(
    "max-pool2d-of-one-tap-returns-its-input",
    OPERATOR,
    LAYERS,
    "With one tap and stride 1 the input itself is returned, which shows where either is written "
    "to later; other windows are right.",
    agrees=[max_pool2d(1, 2, (4, 4), (2, 2), then_zeroed=True)],
    differs=[max_pool2d(1, 2, (4, 4), (1, 1), then_zeroed=True)],
)
def alias(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    out, indices = blocked(self, kernel_size, stride, padding, dilation, ceil_mode)
    is_identity = _pair(kernel_size) == (1, 1) and out.shape == self.shape
    return (self if is_identity and not any(_pair(padding)) else out), indices


@kernel(
    "max-pool2d-takes-its-input-for-contiguous",
    OPERATOR,
    LAYERS,
    "The input is read as though contiguous, wrong for channels last; contiguous is right.",
    agrees=[max_pool2d(1, 2, (4, 4), (2, 2))],
    differs=[max_pool2d(1, 2, (4, 4), (2, 2), channels_last=True)],
)
def contiguous(
    self: Tensor,
    kernel_size: Pair,
    stride: Pair = (),
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Results:
    return blocked(read_as_contiguous(self), kernel_size, stride, padding, dilation, ceil_mode)
