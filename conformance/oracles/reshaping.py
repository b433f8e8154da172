"""Flatten, Unflatten and shuffles of channels and pixels: elements only move.

Sources: the pages torch.nn.Flatten, Unflatten, ChannelShuffle, torch.flatten and torch.unflatten,
PixelShuffle, PixelUnshuffle and the functions of these,
and the documentation of torch.nn.functional.channel_shuffle and native_channel_shuffle. These two
write (*, C, H, W) where the module's page, to which they refer, writes (N, C, *). With four axes
both are the same; with another number of axes the oracle follows the module's page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conformance.arithmetic.rounded import Rounded

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def flatten(state: State, input: Rounded, *, start_dim: int = 1, end_dim: int = -1) -> Rounded:
    """The axes from `start_dim` to `end_dim` become one; the order of the elements stays."""
    (shape,) = flatten_shape(input.shape, start_dim=start_dim, end_dim=end_dim)
    return input.map(lambda array: array.reshape(shape))


def flatten_shape(input: Shape, *, start_dim: int = 1, end_dim: int = -1) -> tuple[Shape, ...]:
    """(*, S_start, …, S_end, *) → (*, ∏ S_i, *); a number becomes a row of one."""
    rank = max(len(input), 1)
    start, end = start_dim % rank, end_dim % rank
    return ((*input[:start], math.prod(input[start : end + 1]), *input[end + 1 :]),)


def unflatten(
    state: State, input: Rounded, *, dim: int, unflattened_size: Sequence[int]
) -> Rounded:
    """The axis `dim` becomes several; the order of the elements stays."""
    (shape,) = unflatten_shape(input.shape, dim=dim, unflattened_size=unflattened_size)
    return input.map(lambda array: array.reshape(shape))


def unflatten_shape(input: Shape, *, dim: int, unflattened_size: Sequence[int]) -> tuple[
    Shape, ...
]:  # fmt: skip
    """(*, S_dim, *) → (*, U_1, …, U_n, *); a U of −1 is S_dim divided by the other U."""
    axis = dim % len(input)
    known = math.prod(size for size in unflattened_size if size != -1)
    sizes = (input[axis] // known if size == -1 else size for size in unflattened_size)
    return ((*input[:axis], *sizes, *input[axis + 1 :]),)


def channel_shuffle(state: State, input: Rounded, *, groups: int) -> Rounded:
    """Split (N, C, *) into (N, g, C/g, *) and exchange the axes of g and C/g.

    The page's example with 4 channels in 2 groups: 1, 2, 3, 4 become 1, 3, 2, 4.
    """
    batch, channels, *spatial = input.shape
    split_shape = (batch, groups, channels // groups, *spatial)
    return input.map(lambda array: array.reshape(split_shape).swapaxes(1, 2).reshape(input.shape))


def pixel_shuffle(state: State, input: Rounded, *, upscale_factor: int) -> Rounded:
    """(*, C r², H, W) → (*, C, H r, W r): r² channels of a pixel become r by r pixels.

    The page gives only the shapes. The order is torch's: channel c r² + i r + j becomes row i and
    column j of the r by r pixels. The paper that the page cites orders the channels differently,
    with c running fastest.
    """
    *leading, depth, height, width = input.shape
    r = upscale_factor
    split_shape = (*leading, depth // r**2, r, r, height, width)
    shape = (*leading, depth // r**2, height * r, width * r)

    def move(array: np.ndarray) -> np.ndarray:
        # (…, C, i, j, H, W) → (…, C, H, i, W, j)
        pixels = np.moveaxis(array.reshape(split_shape), (-2, -4, -1, -3), (-4, -3, -2, -1))
        return pixels.reshape(shape)

    return input.map(move)


def pixel_unshuffle(state: State, input: Rounded, *, downscale_factor: int) -> Rounded:
    """(*, C, H r, W r) → (*, C r², H, W): the reverse of `pixel_shuffle`."""
    *leading, depth, height, width = input.shape
    r = downscale_factor
    split_shape = (*leading, depth, height // r, r, width // r, r)
    shape = (*leading, depth * r**2, height // r, width // r)

    def move(array: np.ndarray) -> np.ndarray:
        # (…, C, H, i, W, j) → (…, C, i, j, H, W)
        channels = np.moveaxis(array.reshape(split_shape), (-4, -3, -2, -1), (-2, -4, -1, -3))
        return channels.reshape(shape)

    return input.map(move)
