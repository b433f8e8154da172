"""Pooling by maximum.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.MaxPool1d, MaxPool2d and MaxPool3d and those of their functions in the
PyTorch documentation. They do not mention integer input: its padding is the smallest integer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.reductions import as_read, maximum
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.pooling.windows import Shape, Size, Taps, make_windows, window_taps

State = Mapping[str, Rounded]


def max_pool(
    dims: int,
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
    """out(N, C, h, w) = max over m, n of input(N, C, stride[0]·h + m, stride[1]·w + n).

    Args:
        dims: number of spatial dimensions; the formula is that of two.
        input: (N, C, *) or (C, *).
    """
    sizes = input.shape[-dims:]
    windows = make_windows(sizes, kernel_size, stride, padding, dilation, ceil_mode)
    return max_over_taps(input, window_taps(windows), indices=return_indices)


def max_pool_shape(
    dims: int,
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
    windows = make_windows(input[-dims:], kernel_size, stride, padding, dilation, ceil_mode)
    shape = (*input[:-dims], *(w.outputs for w in windows))
    return (shape, shape) if return_indices else (shape,)


max_pool1d, max_pool2d, max_pool3d = (partial(max_pool, dims) for dims in (1, 2, 3))


def max_over_taps(input: Rounded, taps: Taps, *, indices: bool) -> tuple[Rounded | Choices, ...]:
    """The largest element of each window, and its index in the plane.

    Elements are copied without rounding. The backward pass adds up overlapping windows.

    Args:
        taps: the elements of each window; the padding is −∞.
        indices: whether to return the indices, too.
    """
    shape, is_integer = taps.shape(input), input.value.dtype.kind == "i"
    elements = taps.gather(input if is_integer else as_read(input), _smallest_value(input.value))
    values = maximum(elements, -1).map(lambda x: x.reshape(shape))
    is_empty = ~taps.inside.any(axis=-1)
    if is_integer and is_empty.any():
        # −∞ is no integer.
        undecided = np.where(np.broadcast_to(is_empty.reshape(taps.outputs), shape), np.inf, 0.0)
        values = values.with_error(undecided)
    return (values, _indices(elements, taps, shape)) if indices else (values,)


def _smallest_value(values: np.ndarray) -> float:
    """The smallest integer, or −∞."""
    return int(np.iinfo(values.dtype).min) if values.dtype.kind == "i" else -np.inf


def _indices(elements: Rounded, taps: Taps, shape: Shape) -> Rounded | Choices:
    """The index of the largest element, or of any of several: the documentation does not say which.

    NaN counts as the largest. A window without an element in the input has an open index.
    """
    value, inside = elements.value, taps.inside
    if not value.size:
        return Rounded(np.zeros(shape), np.zeros(shape), elements.precision)
    if elements.any_inexact:
        low, high = value - elements.error, value + elements.error
    else:
        low = high = value  # keep integers as integers
    bound = np.where(inside, low, _smallest_value(value)).max(axis=-1, keepdims=True)
    is_largest = inside & ((high >= bound) | np.isnan(value))
    # Comparisons with NaN are False, so that beside NaN no other element is the largest.
    counts = is_largest.sum(axis=-1)
    first = np.argsort(~is_largest, axis=-1, kind="stable")
    unknown = np.where(counts == 0, np.inf, 0.0).reshape(shape)
    alternatives = []
    for k in range(max(int(counts.max()), 1)):
        tap = np.take_along_axis(first, np.where(k < counts, k, 0)[..., np.newaxis], -1)
        index = np.take_along_axis(np.broadcast_to(taps.index, value.shape), tap, -1)
        alternatives.append(
            Rounded(index.reshape(shape).astype(float), unknown, elements.precision)
        )
    return alternatives[0] if len(alternatives) == 1 else Choices(tuple(alternatives))
