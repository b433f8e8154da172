"""Padding: an output element is an element of the input, or a constant; nothing is computed.

Sources: the pages torch.nn.ReflectionPad1d, ReplicationPad1d, ZeroPad1d, ConstantPad1d,
CircularPad1d, their variants of two and three dimensions, and torch.nn.functional.pad.

A negative padding removes elements; only the pages of circular padding say so. Where one side is
padded and the other cropped, the pages do not give the order. The oracle has torch's order:
reflection, replication and a constant first pad the whole input and then crop. Circular padding
crops first and then continues the remaining elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conformance.arithmetic.choices import take
from conformance.arithmetic.rounded import Rounded
from conformance.model.formats import round_to

Shape = tuple[int, ...]
Padding = int | Sequence[int]
State = Mapping[str, Rounded]


def pad(
    state: State,
    input: Rounded,
    *,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Rounded:
    """Pad the last len(pad)/2 dimensions, by the mode or by a constant (default 0).

    The gradient of an element that is copied m times is a sum of m terms, in any order.
    """
    sides = side_pairs(pad)
    dims = len(sides)
    leading, lengths = (
        input.shape[: len(input.shape) - dims],
        input.shape[len(input.shape) - dims :],
    )
    index, inside = np.zeros(1, np.int64), np.ones(1, bool)
    for length, (before, after) in zip(lengths, sides, strict=True):
        sources, is_copied = source_positions(length, before, after, mode)
        # Row-major index over the dimensions so far and this one.
        index = (index[:, np.newaxis] * length + sources).reshape(-1)
        inside = (inside[:, np.newaxis] & is_copied).reshape(-1)
    (shape,) = pad_shape(input.shape, pad=pad)
    flat = input.map(lambda array: array.reshape(*leading, math.prod(lengths)))
    padded = take(flat, index, -1, inside=inside, fill=_padding_value(value, input))
    return padded.map(lambda array: array.reshape(shape))


def pad_shape(
    input: Shape, *, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> tuple[Shape, ...]:
    """H_out = H_in + padding_top + padding_bottom for each padded dimension."""
    sides = side_pairs(pad)
    first = len(input) - len(sides)
    padded = (n + sum(side) for n, side in zip(input[first:], sides, strict=True))
    return ((*input[:first], *padded),)


def module_pad(
    mode: str, dims: int, state: State, input: Rounded, *, padding: Padding, value: float = 0.0
) -> Rounded:
    """A module's padding: one number for all sides, or one for each.

    Args:
        mode: as in `pad`.
        dims: number of spatial dimensions.
        state: empty.
        input: (C, …) or (N, C, …).
        padding: (left, right, top, bottom, front, back), two for each dimension.
        value: the constant of a constant padding.
    """
    return pad(state, input, pad=each_side(padding, dims), mode=mode, value=value)


def module_pad_shape(
    dims: int, input: Shape, *, padding: Padding, value: float = 0.0
) -> tuple[Shape, ...]:
    """The shape of `pad` with one number for each side."""
    return pad_shape(input, pad=each_side(padding, dims))


def each_side(padding: Padding, dims: int) -> tuple[int, ...]:
    """One number for each side, the last dimension first."""
    return (padding,) * (2 * dims) if isinstance(padding, int) else tuple(padding)


def side_pairs(pad: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(before, after) of each padded dimension, in the order of the input's axes."""
    pairs = zip(pad[0::2], pad[1::2], strict=True)
    return tuple(pairs)[::-1]


def source_positions(
    length: int, before: int, after: int, mode: str
) -> tuple[np.ndarray, np.ndarray]:
    """For each position of a padded dimension its source in the input, and whether it has one.

    Args:
        before, after: number of positions added on each side; a negative number crops.
    """
    positions = np.arange(-before, length + after)
    everywhere = np.ones(positions.shape, bool)
    if mode == "constant":
        inside = (positions >= 0) & (positions < length)
        return np.where(inside, positions, 0), inside
    if mode == "replicate":
        return np.clip(positions, 0, length - 1), everywhere
    if mode == "reflect":
        # The ends are mirrors; as padding < length, a position is reflected at most once.
        return np.where(
            np.abs(positions) < length, np.abs(positions), 2 * (length - 1) - positions
        ), everywhere
    if mode == "circular":
        first, remaining = max(-before, 0), length - max(-before, 0) - max(-after, 0)
        return first + (positions - first) % remaining, everywhere
    raise ValueError(f"mode {mode!r}")


def _padding_value(value: float | None, input: Rounded) -> float | int:
    """The padding value rounded to the input's dtype; 0 if left out."""
    number = 0.0 if value is None else value
    if input.value.dtype.kind == "i":
        return int(number)
    return float(round_to(np.array(number), input.precision.dtype))
