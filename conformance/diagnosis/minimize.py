"""Reduce the sizes and simplify the numbers of a case while it still fails in the same way.

Hypothesis draws a case's structure and a seed for its numbers. It cannot simplify an array, nor
reduce a size if the case passes with the seed's new numbers. This module continues from its result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.diagnosis.mutations import changed
from conformance.layers import CATALOGUE
from conformance.layers.fitting import resized
from conformance.model.case import Case
from conformance.spec.axes import Axes

SECONDS = 1.0
"""Processor time for one failure."""
WALL = 4.0
"""Wall time as a multiple of this, for a busy machine."""
LONG = 8
"""An axis longer than this is halved first."""
ELEMENTS = 48
"""The largest number of elements of an array that are simplified one by one."""
_INTEGERS = (0.0, 1.0, -1.0, 2.0, -2.0)


def smallest(case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """Reduce the sizes of a failing case as far as possible.

    Args:
        fails: whether another case fails in the same way.
        seconds: processor time after which no further case is tried.
    """
    search = _Search(case, fails, seconds)
    while any(search.takes(candidate) for candidate in smaller(search.case)):
        pass
    return search.case


def plainest(case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """Simplify the numbers of a failing case; the arguments are those of `smallest`.

    Zeros can make further arguments necessary: a weight of zeros makes a bias matter. So the
    diagnosis finds a failure's needs before this.
    """
    search = _Search(case, fails, seconds)
    before = None
    while before is not search.case and search.goes_on:
        before = search.case
        for array in _free(search.case):
            _plainer(search, array)
    return search.case


class _Search:
    """The simplest failing case so far, and the time limits."""

    def __init__(self, case: Case, fails: Callable[[Case], bool], seconds: float) -> None:
        self.case, self._fails = case, fails
        self._busy = time.process_time() + seconds
        self._until = time.monotonic() + WALL * seconds

    @property
    def goes_on(self) -> bool:
        """Whether there is time for another case."""
        return time.process_time() < self._busy and time.monotonic() < self._until

    def takes(self, candidate: Case) -> bool:
        """Continue from a candidate if it fails; return whether it does."""
        taken = self.goes_on and self._fails(candidate)
        if taken:
            self.case = candidate
        return taken


def smaller(case: Case) -> Iterator[Case]:
    """Valid cases with one size or other integer argument reduced, the smallest first."""
    row = CATALOGUE[case.call.layer]
    for name, value in case.call.arguments.items():
        argument = row.signature.argument(name)
        if argument is None or (case.keywords and argument.window):
            continue
        plain = row.signature.defaults.get(name, argument.plain)
        least = plain if type(plain) is int else 1
        for other in _smaller(value, least):
            change = changed(row, case, name, value, other, varied=True)
            if change is not None:
                yield change.case
    for axes in row.axes(case):
        size = _size(case, axes)
        # The failing element may be anywhere in a long axis: halving finds it in few tries.
        halves = [size // 2] if size > LONG else []
        for count in (*halves, *_counts(1, size)):
            for places in (range(count), range(size - count, size)):
                found = resized(row, case, axes, places)
                if found is not None:
                    yield found


def _smaller(value: Any, least: int) -> Iterator[Any]:
    if type(value) is int:
        yield from _counts(least, value)
    elif isinstance(value, (tuple, list)):
        for place, number in enumerate(value):
            if type(number) is int:
                for count in _counts(least, number):
                    yield (*value[:place], count, *value[place + 1 :])


def _counts(least: int, value: int) -> list[int]:
    """Some numbers from `least` to below `value`, in ascending order."""
    tried = {least, least + 1, least + 2, (least + value) // 2, value - 1}
    return sorted(n for n in tried if least <= n < value)


def _size(case: Case, axes: Axes) -> int:
    place, axis = axes[0]
    array = case.inputs[place]
    return 0 if array is None else array.shape[axis]


def _free(case: Case) -> list[np.ndarray]:
    """The inputs and state tensors whose elements may have any value."""
    row, first = CATALOGUE[case.call.layer], case.inputs[0]
    shape = () if first is None else first.shape
    arrays = [
        x for x, there in zip(case.inputs, row.signature.inputs, strict=False) if there.signed
    ]
    state = case.call.state.items()
    arrays += [x for name, x in state if not row.kept(name, case.call.arguments, shape)]
    free = {id(x): x for x in arrays if x is not None and x.dtype.kind in "fc"}
    return list(free.values())


def exchanged(case: Case, old: np.ndarray, new: np.ndarray) -> Case:
    """Replace an array by another, in every input and state tensor where it occurs."""
    state = {name: new if x is old else x for name, x in case.call.state.items()}
    inputs = tuple(new if x is old else x for x in case.inputs)
    return replace(case, call=replace(case.call, state=state), inputs=inputs)


def _plainer(search: _Search, array: np.ndarray) -> None:
    """Simplify the numbers of one array: all at once, then in parts, then one by one."""

    def takes(other: np.ndarray) -> bool:
        nonlocal array
        same = np.array_equal(other, array, equal_nan=True)
        if same or not search.takes(exchanged(search.case, array, other)):
            return False
        array = other
        return True

    def takes_at(places: slice | int, value: complex) -> bool:
        other = array.copy()
        other.reshape(-1)[places] = value
        return takes(other)

    if takes(np.zeros_like(array)) or takes(np.ones_like(array)):
        return
    with np.errstate(invalid="ignore"):
        whole = np.trunc(array.real) + (1j * np.trunc(array.imag) if array.dtype.kind == "c" else 0)
    takes(whole)
    part = array.size // 2
    while part:
        for start in range(0, array.size, part):
            if array.reshape(-1)[start : start + part].any():
                takes_at(slice(start, start + part), 0.0)
        part //= 2
    for place in np.flatnonzero(array)[:ELEMENTS]:
        value = array.reshape(-1)[place]
        if array.dtype.kind == "c":
            takes_at(int(place), 1.0)
        elif any(takes_at(int(place), n) for n in _plainer_numbers(float(value))):
            continue
        elif np.isfinite(value) and value == np.trunc(value):
            _nearest(float(value), partial(takes_at, int(place)))


def _plainer_numbers(value: float) -> list[float]:
    """Numbers simpler than a value, the simplest first: small integers, then fewer bits."""
    if not np.isfinite(value):
        return list(_INTEGERS)
    mantissa, exponent = np.frexp(value)
    short = (float(np.ldexp(np.trunc(np.ldexp(mantissa, b)), exponent - b)) for b in (1, 2, 4))
    found = (*_INTEGERS, 0.5, -0.5, float(np.trunc(value)), *short)
    return [n for n in dict.fromkeys(found) if _rank(n) < _rank(value)]


def _rank(value: float) -> tuple[bool, float, bool]:
    """Sort key for simplicity: integers by size, then other numbers by bits; positive first."""
    whole = value == np.trunc(value)
    return not whole, abs(value) if whole else _bits(value), value < 0


def _bits(value: float) -> int:
    """Number of bits of the mantissa without trailing zeros."""
    numerator, _ = value.as_integer_ratio()
    return abs(numerator).bit_length()


def _nearest(value: float, takes: Callable[[float], bool]) -> None:
    """Bisect between 1, which passes, and a failing integer, for the smallest failing integer."""
    low, high, sign = 1, abs(int(value)), 1 if value > 0 else -1
    while high - low > 1:
        # Keep eight bits, which are exact in every dtype.
        middle = (low + high) // 2
        shift = max(middle.bit_length() - 8, 0)
        middle = middle >> shift << shift
        if not low < middle < high:
            return
        if takes(float(sign * middle)):
            high = middle
        else:
            low = middle
