"""Flatten, Unflatten and shuffles as plain loops, from the documentation alone."""

from __future__ import annotations

import numpy as np

from brute_force.oracles import _positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), given = case.inputs, case.call.arguments
    assert x is not None
    if case.call.layer == "Flatten":
        return (flattened(x, given.get("start_dim", 1), given.get("end_dim", -1)),)
    if case.call.layer == "Unflatten":
        return (unflattened(x, given["dim"], given["unflattened_size"]),)
    if "groups" in given:
        return (shuffled(x, given["groups"]),)
    if "upscale_factor" in given:
        return (pixels(x, given["upscale_factor"]),)
    return (channels(x, given["downscale_factor"]),)


def flattened(x: np.ndarray, start: int, end: int) -> np.ndarray:
    """Places within the flat axis are counted as an odometer counts."""
    if not x.ndim:
        return np.array([x[()]])
    start, end = (k + x.ndim if k < 0 else k for k in (start, end))
    length = 1
    for size in x.shape[start : end + 1]:
        length *= size
    found = np.zeros((*x.shape[:start], length, *x.shape[end + 1 :]), x.dtype)
    for at in _positions(x.shape):
        place = 0
        for k in range(start, end + 1):
            place = place * x.shape[k] + at[k]
        found[(*at[:start], place, *at[end + 1 :])] = x[at]
    return found


def unflattened(x: np.ndarray, dim: int, sizes: list[int] | tuple[int, ...]) -> np.ndarray:
    """The other way; a size of −1 grows until the product fits."""
    dim = dim + x.ndim if dim < 0 else dim
    known = 1
    for size in sizes:
        known *= 1 if size == -1 else size
    grown = 0
    while known and known * grown < x.shape[dim]:
        grown += 1
    full = [grown if size == -1 else size for size in sizes]
    found = np.zeros((*x.shape[:dim], *full, *x.shape[dim + 1 :]), x.dtype)
    for at in _positions(found.shape):
        place = 0
        for k, size in enumerate(full):
            place = place * size + at[dim + k]
        found[at] = x[(*at[:dim], place, *at[dim + len(full) :])]
    return found


def shuffled(x: np.ndarray, groups: int) -> np.ndarray:
    """Channels are dealt: the first of each group, then the second of each."""
    found, place = np.zeros_like(x), 0
    size = x.shape[1] // groups
    for within in range(size):
        for group in range(groups):
            found[:, place] = x[:, group * size + within]
            place += 1
    return found


def pixels(x: np.ndarray, r: int) -> np.ndarray:
    """One channel after the other is laid out on a grid of its own."""
    *leading, depth, high, wide = x.shape
    found = np.zeros((*leading, depth // r**2, high * r, wide * r), x.dtype)
    for channel in range(depth):
        c, within = divmod(channel, r * r)
        i, j = divmod(within, r)
        for row in range(high):
            for column in range(wide):
                found[..., c, row * r + i, column * r + j] = x[..., channel, row, column]
    return found


def channels(x: np.ndarray, r: int) -> np.ndarray:
    """One pixel after the other finds its channel."""
    *leading, depth, high, wide = x.shape
    found = np.zeros((*leading, depth * r**2, high // r, wide // r), x.dtype)
    for c in range(depth):
        for row in range(high):
            for column in range(wide):
                channel = c * r * r + row % r * r + column % r
                found[..., channel, row // r, column // r] = x[..., c, row, column]
    return found
