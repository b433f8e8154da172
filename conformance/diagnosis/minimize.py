"""Reduce the sizes and simplify the numbers of a case while it still fails in the same way.

Hypothesis draws a case's structure and a seed for its numbers. It cannot simplify an array, nor
reduce a size if the case passes with the seed's new numbers. This module continues from its result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

import numpy as np

from conformance.diagnosis.mutations import change_argument
from conformance.layers import CATALOGUE
from conformance.layers.fitting import select_places
from conformance.model.case import Case
from conformance.spec.axes import Axes

Found = TypeVar("Found")

SECONDS = 1.0
"""Processor time for one failure."""
WALL_FACTOR = 4.0
"""Wall time as a multiple of this, for a busy machine."""
LONG_AXIS = 8
"""An axis longer than this is halved first."""
MAX_ELEMENTS = 48
"""The largest number of elements of an array that are simplified one by one."""
_INTEGERS = (0.0, 1.0, -1.0, 2.0, -2.0)


def reduce_case(
    case: Case,
    reductions: Callable[[Case], Iterator[Case]],
    fails: Callable[[Case], Found | None],
    seconds: float,
) -> tuple[Case, Found] | None:
    """Replace a failing case by the first of its reductions that fails, as long as one does.

    Args:
        reductions: smaller cases of a case.
        fails: how another case fails in the same way; None if it does not.
        seconds: wall time after which no further reduction is tried.

    Returns:
        The last case and how it fails; None if the first does not fail again.
    """
    deadline, outcome = time.monotonic() + seconds, fails(case)
    if outcome is None:
        return None
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in takewhile(lambda _: time.monotonic() < deadline, reductions(case)):
            candidate_outcome = fails(candidate)
            if candidate_outcome is not None:
                case, outcome, is_smaller = candidate, candidate_outcome, True
                break
    return case, outcome


def shrink_sizes(case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """Reduce the sizes of a failing case as far as possible.

    Args:
        fails: whether another case fails in the same way.
        seconds: processor time after which no further case is tried.
    """
    search = _Search(case, fails, seconds)
    while any(search.accept_if_failing(candidate) for candidate in smaller_cases(search.case)):
        pass
    return search.case


def simplify_numbers(case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """Simplify the numbers of a failing case; the arguments are those of `shrink_sizes`.

    Zeros can make further arguments necessary: a weight of zeros makes a bias matter. So the
    diagnosis finds a failure's needs before this.
    """
    search = _Search(case, fails, seconds)
    previous_case = None
    while previous_case is not search.case and search.has_time:
        previous_case = search.case
        for array in _free_arrays(search.case):
            _simplify_array(search, array)
    return search.case


class _Search:
    """The simplest failing case so far, and the time limits."""

    def __init__(self, case: Case, fails: Callable[[Case], bool], seconds: float) -> None:
        self.case, self._fails = case, fails
        self._process_deadline = time.process_time() + seconds
        self._wall_deadline = time.monotonic() + WALL_FACTOR * seconds

    @property
    def has_time(self) -> bool:
        """Whether there is time for another case."""
        return (
            time.process_time() < self._process_deadline and time.monotonic() < self._wall_deadline
        )

    def accept_if_failing(self, candidate: Case) -> bool:
        """Continue from a candidate if it fails; return whether it does."""
        accepted = self.has_time and self._fails(candidate)
        if accepted:
            self.case = candidate
        return accepted


def smaller_cases(case: Case) -> Iterator[Case]:
    """Valid cases with one size or other integer argument reduced, the smallest first."""
    spec = CATALOGUE[case.call.layer]
    for name, value in case.call.arguments.items():
        argument = spec.signature.argument(name)
        if argument is None or (case.keywords and argument.window):
            continue
        default = spec.signature.defaults.get(name, argument.simplest)
        smallest_number = default if type(default) is int else 1
        for smaller_value in _smaller_values(value, smallest_number):
            change = change_argument(spec, case, name, value, smaller_value, varied=True)
            if change is not None:
                yield change.case
    for axes in spec.resizable_axes(case):
        size = _axis_size(case, axes)
        # The failing element may be anywhere in a long axis: halving finds it in few tries.
        halves = [size // 2] if size > LONG_AXIS else []
        for count in (*halves, *_smaller_numbers(1, size)):
            for kept_indices in (range(count), range(size - count, size)):
                resized_case = select_places(spec, case, axes, kept_indices)
                if resized_case is not None:
                    yield resized_case


def _smaller_values(value: Any, smallest_number: int) -> Iterator[Any]:
    if type(value) is int:
        yield from _smaller_numbers(smallest_number, value)
    elif isinstance(value, (tuple, list)):
        for index, number in enumerate(value):
            if type(number) is int:
                for count in _smaller_numbers(smallest_number, number):
                    yield (*value[:index], count, *value[index + 1 :])


def _smaller_numbers(smallest_number: int, value: int) -> list[int]:
    """Some numbers from `smallest_number` to below `value`, in ascending order."""
    candidates = {
        smallest_number,
        smallest_number + 1,
        smallest_number + 2,
        (smallest_number + value) // 2,
        value - 1,
    }
    return sorted(n for n in candidates if smallest_number <= n < value)


def _axis_size(case: Case, axes: Axes) -> int:
    input_index, axis = axes[0]
    array = case.inputs[input_index]
    return 0 if array is None else array.shape[axis]


def _free_arrays(case: Case) -> list[np.ndarray]:
    """The inputs and state tensors whose elements may have any value."""
    spec, first = CATALOGUE[case.call.layer], case.inputs[0]
    shape = () if first is None else first.shape
    arrays = [
        x
        for x, input_spec in zip(case.inputs, spec.signature.inputs, strict=False)
        if input_spec.any_value
    ]
    constrained = spec.constrained_names(case.call.arguments, shape)
    arrays += [x for name, x in case.call.state.items() if name not in constrained]
    arrays_by_id = {id(x): x for x in arrays if x is not None and x.dtype.kind in "fc"}
    return list(arrays_by_id.values())


def replace_array(case: Case, old: np.ndarray, new: np.ndarray) -> Case:
    """Replace an array by another, in every input and state tensor where it occurs."""
    state = {name: new if x is old else x for name, x in case.call.state.items()}
    inputs = tuple(new if x is old else x for x in case.inputs)
    return replace(case, call=replace(case.call, state=state), inputs=inputs)


def _simplify_array(search: _Search, array: np.ndarray) -> None:
    """Simplify the numbers of one array: all at once, then in parts, then one by one."""

    def accept_if_failing(candidate: np.ndarray) -> bool:
        nonlocal array
        is_unchanged = np.array_equal(candidate, array, equal_nan=True)
        if is_unchanged or not search.accept_if_failing(
            replace_array(search.case, array, candidate)
        ):
            return False
        array = candidate
        return True

    def accept_with_elements(index: slice | int, value: complex) -> bool:
        candidate = array.copy()
        candidate.reshape(-1)[index] = value
        return accept_if_failing(candidate)

    if accept_if_failing(np.zeros_like(array)) or accept_if_failing(np.ones_like(array)):
        return
    with np.errstate(invalid="ignore"):
        truncated = np.trunc(array.real) + (
            1j * np.trunc(array.imag) if array.dtype.kind == "c" else 0
        )
    accept_if_failing(truncated)
    block_size = array.size // 2
    while block_size:
        for start in range(0, array.size, block_size):
            if array.reshape(-1)[start : start + block_size].any():
                accept_with_elements(slice(start, start + block_size), 0.0)
        block_size //= 2
    for index in np.flatnonzero(array)[:MAX_ELEMENTS]:
        value = array.reshape(-1)[index]
        if array.dtype.kind == "c":
            accept_with_elements(int(index), 1.0)
        elif any(accept_with_elements(int(index), n) for n in _simpler_numbers(float(value))):
            continue
        elif np.isfinite(value) and value == np.trunc(value):
            _bisect_integer(float(value), partial(accept_with_elements, int(index)))


def _simpler_numbers(value: float) -> list[float]:
    """Numbers simpler than a value, the simplest first: small integers, then fewer bits."""
    if not np.isfinite(value):
        return list(_INTEGERS)
    mantissa, exponent = np.frexp(value)
    shortened = (float(np.ldexp(np.trunc(np.ldexp(mantissa, b)), exponent - b)) for b in (1, 2, 4))
    candidates = (*_INTEGERS, 0.5, -0.5, float(np.trunc(value)), *shortened)
    return [n for n in dict.fromkeys(candidates) if _complexity(n) < _complexity(value)]


def _complexity(value: float) -> tuple[bool, float, bool]:
    """Sort key for simplicity: integers by size, then other numbers by bits; positive first."""
    is_integer = value == np.trunc(value)
    return not is_integer, abs(value) if is_integer else _mantissa_bits(value), value < 0


def _mantissa_bits(value: float) -> int:
    """Number of bits of the mantissa without trailing zeros."""
    numerator, _ = value.as_integer_ratio()
    return abs(numerator).bit_length()


def _bisect_integer(value: float, accept_if_failing: Callable[[float], bool]) -> None:
    """Bisect between 1, which passes, and a failing integer, for the smallest failing integer."""
    low, high, sign = 1, abs(int(value)), 1 if value > 0 else -1
    while high - low > 1:
        # Keep eight bits, which are exact in every dtype.
        middle = (low + high) // 2
        shift = max(middle.bit_length() - 8, 0)
        middle = middle >> shift << shift
        if not low < middle < high:
            return
        if accept_if_failing(float(sign * middle)):
            high = middle
        else:
            low = middle
