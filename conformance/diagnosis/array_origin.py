"""Express an array that a check compared in terms of the arrays that it read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.transcript import Step
from conformance.model.proof import Index


def locate_array(
    steps: Sequence[Step],
    array: np.ndarray,
    index: Index | None,
    excluded_origin: str | None = None,
) -> str | None:
    """Express an array, or an element of it, by the arrays that were read; None if impossible.

    An array is located by the memory that it shares with one of them, or as the same numbers in
    the same order. An element is also located by its value if that occurs in one place only, or as
    part of an array that was joined to others. This is done only if all numbers of the array were
    read, since a computed sum may equal one of its terms by chance.

    Args:
        steps: the steps that returned arrays.
        array: an array that was read, or that was computed from such arrays.
        index: the element's index; None = the whole array.
        excluded_origin: the expression of another array; this one must not be part of that.
    """
    read_steps = [
        s for s in steps if not (excluded_origin or "").startswith((f"{s.name}[", f"{s.name}."))
    ][::-1]
    for step in read_steps:
        if step.result is array:
            return step.name if index is None else _element_text(step.name, index)
        if array.size and step.result.size and np.shares_memory(step.result, array):
            view_text = _locate_in_view(step, array, index)
            if view_text is not None:
                return view_text
    whole_text = _locate_whole(read_steps, array)
    if index is None:
        return whole_text
    consists_of_read = _consists_of_read_numbers(read_steps, array)
    element_texts = list(_find_number(read_steps, array[index])) if consists_of_read else []
    if len(element_texts) == 1:
        return element_texts[0]
    if whole_text is not None:
        return _element_text(whole_text, index)
    return _locate_in_joined(read_steps, array, index) if consists_of_read else None


def _element_text(name: str, index: Index) -> str:
    return f"{name}[{', '.join(map(str, index)) or '()'}]"


def _find_number(steps: Sequence[Step], number: Any) -> Iterator[str]:
    """All elements that hold a number, with equal signs of zero; NaN equals NaN."""
    for step in steps:
        array = step.result
        if array.dtype.kind not in "fciub":
            continue
        matches = (array == number) & (np.signbit(np.real(array)) == np.signbit(np.real(number)))
        if number != number:
            matches = np.isnan(array)
        for index in np.argwhere(matches):
            yield _element_text(step.name, tuple(map(int, index)))


def _consists_of_read_numbers(steps: Sequence[Step], array: np.ndarray) -> bool:
    """Whether every element of an array was read."""
    read_arrays = [s.result.reshape(-1) for s in steps if s.result.dtype.kind in "fciub"]
    read_numbers = np.concatenate([array.reshape(-1)[:0], *read_arrays])
    return bool((np.isin(array, read_numbers) | (array != array)).all())


def _locate_in_joined(steps: Sequence[Step], array: np.ndarray, index: Index) -> str | None:
    """Locate an element in an array that was read and that occurs once as a part along an axis."""
    for step in sorted(steps, key=lambda step: -step.result.size):
        part, part_indices = step.result, list[Index]()
        for axis in range(array.ndim if part.ndim == array.ndim else 0):
            size, (*before, at), after = part.shape[axis], index[: axis + 1], index[axis + 1 :]
            for first in range(max(at - size + 1, 0), min(at, array.shape[axis] - size) + 1):
                part_slice = (slice(None),) * axis + (slice(first, first + size),)
                if np.array_equal(array[part_slice], part, equal_nan=True):
                    part_indices.append((*before, at - first, *after))
        if len(part_indices) == 1:
            return _element_text(step.name, part_indices[0])
    return None


def _locate_in_view(step: Step, array: np.ndarray, index: Index | None) -> str | None:
    """Locate a view of an array that was read, or an element of the view."""
    source = step.result
    if not source.flags.c_contiguous or source.itemsize != array.itemsize:
        return None
    if index is None:
        is_whole = array.size == source.size and array.flags.c_contiguous
        return f"{step.name}.reshape({array.shape})" if is_whole else None
    element_offset = sum(i * s for i, s in zip(index, array.strides, strict=True))
    offset = array.ctypes.data + element_offset - source.ctypes.data
    source_index = np.unravel_index(offset // source.itemsize, source.shape)
    return _element_text(step.name, tuple(map(int, source_index)))


def _locate_whole(steps: Sequence[Step], array: np.ndarray) -> str | None:
    """Locate an array that was read and has the same numbers in the same order."""
    for step in steps:
        has_same_size = step.result.size == array.size
        if has_same_size and np.array_equal(
            step.result.reshape(-1), array.reshape(-1), equal_nan=True
        ):
            return f"{step.name}.reshape({array.shape})"
    return None
