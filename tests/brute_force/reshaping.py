"""Flatten, Unflatten and shuffles as plain loops, from the documentation alone."""

from __future__ import annotations

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), arguments = case.inputs, case.call.arguments
    assert x is not None
    if case.call.layer == "Flatten":
        return (flatten(x, arguments.get("start_dim", 1), arguments.get("end_dim", -1)),)
    if case.call.layer == "Unflatten":
        return (unflatten(x, arguments["dim"], arguments["unflattened_size"]),)
    if "groups" in arguments:
        return (channel_shuffle(x, arguments["groups"]),)
    if "upscale_factor" in arguments:
        return (pixel_shuffle(x, arguments["upscale_factor"]),)
    return (pixel_unshuffle(x, arguments["downscale_factor"]),)


def flatten(x: np.ndarray, start: int, end: int) -> np.ndarray:
    """Places within the flat axis are counted as an odometer counts."""
    if not x.ndim:
        return np.array([x[()]])
    start, end = (k + x.ndim if k < 0 else k for k in (start, end))
    length = 1
    for size in x.shape[start : end + 1]:
        length *= size
    output = np.zeros((*x.shape[:start], length, *x.shape[end + 1 :]), x.dtype)
    for position in positions(x.shape):
        place = 0
        for k in range(start, end + 1):
            place = place * x.shape[k] + position[k]
        output[(*position[:start], place, *position[end + 1 :])] = x[position]
    return output


def unflatten(x: np.ndarray, dim: int, sizes: list[int] | tuple[int, ...]) -> np.ndarray:
    """The other way; a size of −1 grows until the product fits."""
    dim = dim + x.ndim if dim < 0 else dim
    product = 1
    for size in sizes:
        product *= 1 if size == -1 else size
    inferred_size = 0
    while product and product * inferred_size < x.shape[dim]:
        inferred_size += 1
    full_sizes = [inferred_size if size == -1 else size for size in sizes]
    output = np.zeros((*x.shape[:dim], *full_sizes, *x.shape[dim + 1 :]), x.dtype)
    for position in positions(output.shape):
        place = 0
        for k, size in enumerate(full_sizes):
            place = place * size + position[dim + k]
        output[position] = x[(*position[:dim], place, *position[dim + len(full_sizes) :])]
    return output


def channel_shuffle(x: np.ndarray, groups: int) -> np.ndarray:
    """Channels are dealt: the first of each group, then the second of each."""
    output, place = np.zeros_like(x), 0
    size = x.shape[1] // groups
    for index_in_group in range(size):
        for group in range(groups):
            output[:, place] = x[:, group * size + index_in_group]
            place += 1
    return output


def pixel_shuffle(x: np.ndarray, r: int) -> np.ndarray:
    """One channel after the other is laid out on a grid of its own."""
    *leading, depth, height, width = x.shape
    output = np.zeros((*leading, depth // r**2, height * r, width * r), x.dtype)
    for channel in range(depth):
        c, offset = divmod(channel, r * r)
        i, j = divmod(offset, r)
        for row in range(height):
            for column in range(width):
                output[..., c, row * r + i, column * r + j] = x[..., channel, row, column]
    return output


def pixel_unshuffle(x: np.ndarray, r: int) -> np.ndarray:
    """One pixel after the other finds its channel."""
    *leading, depth, height, width = x.shape
    output = np.zeros((*leading, depth * r**2, height // r, width // r), x.dtype)
    for c in range(depth):
        for row in range(height):
            for column in range(width):
                channel = c * r * r + row % r * r + column % r
                output[..., channel, row // r, column // r] = x[..., c, row, column]
    return output
