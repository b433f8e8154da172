"""Express an array that a check compared in terms of the arrays that it read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.transcript import Step
from conformance.model.proof import Index


def located(
    steps: Sequence[Step], array: np.ndarray, where: Index | None, apart: str | None = None
) -> str | None:
    """Express an array, or an element of it, by the arrays that were read; None if impossible.

    An array is located by the memory that it shares with one of them, or as the same numbers in
    the same order. An element is also located by its value if that occurs in one place only, or as
    part of an array that was joined to others. This is done only if all numbers of the array were
    read, since a computed sum may equal one of its terms by chance.

    Args:
        steps: the steps that returned arrays.
        array: an array that was read, or that was computed from such arrays.
        where: the element's index; None = the whole array.
        apart: the expression of another array; this one must not be part of that.
    """
    read = [s for s in steps if not (apart or "").startswith((f"{s.name}[", f"{s.name}."))][::-1]
    for step in read:
        if step.result is array:
            return step.name if where is None else _element(step.name, where)
        if array.size and step.result.size and np.shares_memory(step.result, array):
            found = _within(step, array, where)
            if found is not None:
                return found
    whole = _whole(read, array)
    if where is None:
        return whole
    known = _of_what_was_read(read, array)
    places = list(_places(read, array[where])) if known else []
    if len(places) == 1:
        return places[0]
    if whole is not None:
        return _element(whole, where)
    return _joined(read, array, where) if known else None


def _element(name: str, where: Index) -> str:
    return f"{name}[{', '.join(map(str, where)) or '()'}]"


def _places(steps: Sequence[Step], wanted: Any) -> Iterator[str]:
    """All elements that hold a number, with equal signs of zero; NaN equals NaN."""
    for step in steps:
        array = step.result
        if array.dtype.kind not in "fciub":
            continue
        same = (array == wanted) & (np.signbit(np.real(array)) == np.signbit(np.real(wanted)))
        if wanted != wanted:
            same = np.isnan(array)
        for place in np.argwhere(same):
            yield _element(step.name, tuple(map(int, place)))


def _of_what_was_read(steps: Sequence[Step], array: np.ndarray) -> bool:
    """Whether every element of an array was read."""
    kept = [s.result.reshape(-1) for s in steps if s.result.dtype.kind in "fciub"]
    known = np.concatenate([array.reshape(-1)[:0], *kept])
    return bool((np.isin(array, known) | (array != array)).all())


def _joined(steps: Sequence[Step], array: np.ndarray, where: Index) -> str | None:
    """Locate an element in an array that was read and that occurs once as a part along an axis."""
    for step in sorted(steps, key=lambda step: -step.result.size):
        part, places = step.result, list[Index]()
        for axis in range(array.ndim if part.ndim == array.ndim else 0):
            size, (*before, at), after = part.shape[axis], where[: axis + 1], where[axis + 1 :]
            for first in range(max(at - size + 1, 0), min(at, array.shape[axis] - size) + 1):
                run = (slice(None),) * axis + (slice(first, first + size),)
                if np.array_equal(array[run], part, equal_nan=True):
                    places.append((*before, at - first, *after))
        if len(places) == 1:
            return _element(step.name, places[0])
    return None


def _within(step: Step, array: np.ndarray, where: Index | None) -> str | None:
    """Locate a view of an array that was read, or an element of the view."""
    source = step.result
    if not source.flags.c_contiguous or source.itemsize != array.itemsize:
        return None
    if where is None:
        whole = array.size == source.size and array.flags.c_contiguous
        return f"{step.name}.reshape({array.shape})" if whole else None
    moved = sum(i * s for i, s in zip(where, array.strides, strict=True))
    offset = array.ctypes.data + moved - source.ctypes.data
    place = np.unravel_index(offset // source.itemsize, source.shape)
    return _element(step.name, tuple(map(int, place)))


def _whole(steps: Sequence[Step], array: np.ndarray) -> str | None:
    """Locate an array that was read and has the same numbers in the same order."""
    for step in steps:
        same = step.result.size == array.size
        if same and np.array_equal(step.result.reshape(-1), array.reshape(-1), equal_nan=True):
            return f"{step.name}.reshape({array.shape})"
    return None
