"""Helpers of spatial layers for any array library: sizes, padding, batches, channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from conformance.backends.adapters.names import spatial_dims
from conformance.backends.adapters.shared import check_rank

PADDING_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""torch's `padding_mode` of convolutions → NumPy's name."""
PAD_MODES = {"constant": "constant", **PADDING_MODES}
"""torch's `mode` of `functional.pad` → NumPy's name."""
_PADS = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
"""torch's modes of linear interpolation → their number of dimensions."""


def per_dimension(value: Any, dims: int) -> tuple[int, ...]:
    """One number for each dimension, from a single number or a sequence.

    Raises:
        ValueError: if a sequence has another length than 1 or `dims`.
    """
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if len(numbers) not in (1, dims):
        raise ValueError(f"{value!r}: expected one number, or {dims}")
    return numbers * dims if len(numbers) == 1 else numbers


def pooling_window(dims: int, size: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and strides of pooling; a stride of None is the size."""
    sizes = per_dimension(size, dims)
    return sizes, sizes if stride is None else per_dimension(stride, dims)


def kernel_reaches(dilations: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Distance from a kernel's first to its last element, in each dimension."""
    return [d * (k - 1) for d, k in zip(dilations, sizes, strict=True)]


def same_pads(reaches: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after each dimension that keeps its size; the larger part comes after."""
    return [(reach // 2, reach - reach // 2) for reach in reaches]


def padding_of(layer: str, padding: Any) -> tuple[str, tuple[int, ...]]:
    """Mode and numbers of `functional.pad` for a padding module, such as `"ReflectionPad1d"`."""
    numbers = (padding,) * 2 * spatial_dims(layer) if isinstance(padding, int) else tuple(padding)
    return _PADS.get(layer[: -len("Pad1d")], "constant"), numbers


def pad_pairs(pad: Sequence[int], rank: int) -> list[tuple[int, int]]:
    """Padding before and after each axis; torch's numbers begin with the last axis."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    return [(0, 0)] * (rank - len(pairs)) + pairs


def call_batched(function: Callable[[Any], Any], x: Any, dims: int) -> Any:
    """Call a function that needs a batch, (N, C, …); add one and remove it again if necessary."""
    if x.ndim != dims + 1:
        return function(x)
    y = function(x[None])
    return tuple(part[0] for part in y) if isinstance(y, tuple) else y[0]


def call_spatial(function: Callable[[Any], Any], layer: str, x: Any) -> Any:
    """Call a function that needs a batch, for a library that has one function for all ranks.

    The layer's name decides the number of dimensions.

    Raises:
        ValueError: for an input of another rank.
    """
    dims = spatial_dims(layer)
    check_rank(layer, x, dims + 1, dims + 2)
    return call_batched(function, x, dims)


def call_channels_last(function: Callable[[Any], Any], x: Any, move: Callable[..., Any]) -> Any:
    """Call a function of (N, …, C) on an input (N, C, …); `move` is the library's `moveaxis`."""
    return move(function(move(x, 1, -1)), -1, 1)
