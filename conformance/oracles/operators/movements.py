"""Oracles of operators that only move elements, with torch's names and arguments.

Source: the pages of the operators in the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from conformance.arithmetic.choices import take
from conformance.arithmetic.rounded import Rounded, join

Shape = Sequence[int]
Slice = tuple[int | None, int | None, int | None]


def _moved(x: Rounded, move: Callable[[np.ndarray], np.ndarray]) -> Rounded:
    """The elements at the places to which `move` brings an array of places."""
    places = np.arange(x.value.size).reshape(x.shape)
    return take(x.map(lambda array: array.reshape(-1)), move(places))


def permute(x: Rounded, *, dims: Shape) -> Rounded:
    """The axes in another order."""
    return _moved(x, lambda places: np.transpose(places, dims))


def transpose(x: Rounded, *, dim0: int, dim1: int) -> Rounded:
    """Two axes exchanged."""
    return _moved(x, lambda places: np.swapaxes(places, dim0, dim1))


def reshape(x: Rounded, *, shape: Shape) -> Rounded:
    """The elements in the same order, in another shape."""
    return _moved(x, lambda places: np.reshape(places, shape))


def flip(x: Rounded, *, dims: Shape) -> Rounded:
    """The elements along axes in reverse order."""
    return _moved(x, lambda places: np.flip(places, tuple(dims)))


def expand(x: Rounded, *, size: Shape) -> Rounded:
    """Axes of size 1 repeated, and axes added in front."""
    return _moved(x, lambda places: np.broadcast_to(places, size))


def index(x: Rounded, *, slices: Sequence[Slice]) -> Rounded:
    """Slices (start, stop, step) of the first axes; steps are positive."""
    return _moved(x, lambda places: places[tuple(slice(*part) for part in slices)])


def unsqueeze(x: Rounded, *, dim: int) -> Rounded:
    """An axis of size 1 more."""
    return _moved(x, lambda places: np.expand_dims(places, dim))


def squeeze(x: Rounded, *, dim: int) -> Rounded:
    """An axis less if its size is 1."""
    return _moved(x, lambda places: places.squeeze(dim) if places.shape[dim] == 1 else places)


def select(x: Rounded, *, dim: int, index: int) -> Rounded:
    """One place of an axis, and no axis there."""
    return _moved(x, lambda places: np.take(places, index, axis=dim))


def cat(*tensors: Rounded, dim: int) -> Rounded:
    """Tensors one after another along an axis."""
    return join(list(tensors), dim)
