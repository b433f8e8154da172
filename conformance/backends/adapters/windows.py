"""Layers of space, whichever array library: sizes, padding, a batch, channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from conformance.backends.adapters.names import dims_of
from conformance.backends.adapters.shared import ranked

PADDING_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""torch's modes of padding before a convolution, by NumPy's names."""
PAD_MODES = {"constant": "constant", **PADDING_MODES}
"""Those of `functional.pad`."""
_PADS = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
"""torch's modes of linear interpolation, and the dimensions that each is of."""


def each(value: Any, dims: int) -> tuple[int, ...]:
    """A number for each dimension, given as one or as so many.

    Raises:
        ValueError: if there are more or fewer.
    """
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if len(numbers) not in (1, dims):
        raise ValueError(f"{value!r}: expected one number, or {dims}")
    return numbers * dims if len(numbers) == 1 else numbers


def windows(dims: int, size: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes and strides of pooling, whose stride is the size where it is left out."""
    sizes = each(size, dims)
    return sizes, sizes if stride is None else each(stride, dims)


def reaches(dilations: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """How far a kernel's last element is from its first, in each dimension."""
    return [d * (k - 1) for d, k in zip(dilations, sizes, strict=True)]


def same_pads(reaches: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each dimension that keep its size: the larger part comes after."""
    return [(reach // 2, reach - reach // 2) for reach in reaches]


def pad_of(layer: str, padding: Any) -> tuple[str, tuple[int, ...]]:
    """`functional.pad`'s mode and numbers of a padding module, such as `"ReflectionPad1d"`."""
    numbers = (padding,) * 2 * dims_of(layer) if isinstance(padding, int) else tuple(padding)
    return _PADS.get(layer[: -len("Pad1d")], "constant"), numbers


def pad_pairs(pad: Sequence[int], rank: int) -> list[tuple[int, int]]:
    """Before and after each axis; torch's numbers begin with the last axis."""
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    return [(0, 0)] * (rank - len(pairs)) + pairs


def batched(function: Callable[[Any], Any], x: Any, dims: int) -> Any:
    """Call a function that wants a batch, (N, C, …); one that is added is taken away again."""
    if x.ndim != dims + 1:
        return function(x)
    y = function(x[None])
    return tuple(part[0] for part in y) if isinstance(y, tuple) else y[0]


def spatial(function: Callable[[Any], Any], layer: str, x: Any) -> Any:
    """`batched`, for a library that has one function for all ranks: the layer's name decides.

    Raises:
        ValueError: for an input of another rank.
    """
    dims = dims_of(layer)
    ranked(layer, x, dims + 1, dims + 2)
    return batched(function, x, dims)


def channels_last(function: Callable[[Any], Any], x: Any, move: Callable[..., Any]) -> Any:
    """Call a function of (N, …, C) for (N, C, …).

    Args:
        move: the library's `moveaxis`.
    """
    return move(function(move(x, 1, -1)), -1, 1)
