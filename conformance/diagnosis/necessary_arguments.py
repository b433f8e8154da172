"""Find the arguments that a failure needs, by changing each one of the minimal case in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.minimize import exchanged
from conformance.diagnosis.mutations import Change, changed, changes
from conformance.layers import CATALOGUE
from conformance.layers.fitting import same
from conformance.matching.facts import EQUALS, Facts
from conformance.model.case import Case
from conformance.model.cause import Need

TRIES = 40
"""The largest number of changes to try for one failure."""


def needs(
    case: Case, tried: Callable[[Case], bool | None]
) -> tuple[tuple[Need, ...], tuple[Change, ...]]:
    """Find what a failure needs and what it does not depend on.

    Args:
        case: the minimal failing case, a valid call.
        tried: runs the check on a case: True if it fails in the same way, False if it passes,
            None if that is unknown.

    Returns:
        The effect of each change, and the changes that make the case pass.
    """
    found, needed = list[Need](), list[Change]()
    for change in itertools.islice(changes(case), TRIES):
        fails = tried(change.case)
        if fails is None:
            continue
        least = change if fails else _nearest(case, change, tried)
        found.append(need_of(least, fails=fails))
        needed += [] if fails else [least]
    for change in _relations(case, needed, tried):
        found = [need for need in found if need.argument not in change.argument.split(EQUALS)]
        needed = [one for one in needed if one.argument not in change.argument.split(EQUALS)]
        found.append(need_of(change))
        needed.append(change)
    return tuple(found), tuple(needed)


def size_of_number(case: Case, tried: Callable[[Case], bool | None]) -> Change | None:
    """Find the size that the only nonzero number of an input must exceed for the failure.

    Args:
        case: the failing case with the simplest numbers.
        tried: as in `needs`.

    Returns:
        The change to the next smaller integer, if the case then passes; else None.
    """
    row = CATALOGUE[case.call.layer]
    for place, array in enumerate(case.inputs):
        if array is None or array.dtype.kind != "f" or not row.signature.inputs[place].signed:
            continue
        at = np.flatnonzero(array)
        value = float(array.reshape(-1)[at[0]]) if len(at) == 1 else 0.0
        if not np.isfinite(value) or abs(value) < 2 or value != np.trunc(value):
            continue
        other = value - np.sign(value)
        nearer = array.copy()
        nearer.reshape(-1)[at[0]] = other
        changed_case = exchanged(case, array, nearer)
        if tried(changed_case) is False:
            end = "max" if value > 0 else "min"
            return Change(
                f"{row.signature.input_names[place]}.{end}", value, float(other), changed_case
            )
    return None


def need_of(change: Change, *, fails: bool = False) -> Need:
    """The stored form of a change and its effect."""
    return Need(change.argument, repr(change.value), repr(change.other), fails, change.varied)


def _relations(
    case: Case, needed: Sequence[Change], tried: Callable[[Case], bool | None]
) -> Iterator[Change]:
    """Find pairs of sizes whose values do not matter as long as they are equal.

    The case passes if one of them grows or shrinks, but still fails if both grow.
    """
    row = CATALOGUE[case.call.layer]

    def grown(start: Case, name: str) -> Case | None:
        size = start.call.arguments[name]
        change = changed(row, start, name, size, size + 1)
        return None if change is None else change.case

    sizes = {
        change.argument: change.value
        for change in needed
        if (argument := row.signature.argument(change.argument)) is not None
        and argument.size
        and type(change.value) is int
    }
    for name, other in itertools.combinations(sizes, 2):
        if sizes[name] != sizes[other]:
            continue
        first, second = grown(case, name), grown(case, other)
        both = None if first is None else grown(first, other)
        if first is None or second is None or both is None:
            continue
        if tried(first) is False and tried(second) is False and tried(both):
            yield Change(f"{name}{EQUALS}{other}", True, False, first)


def _nearest(case: Case, change: Change, tried: Callable[[Case], bool | None]) -> Change:
    """The change by 1 if it also makes the case pass: `"> 128"` says more than `"> 1"`."""
    value, other = change.value, change.other
    if type(value) is not int or type(other) is not int or value - other < 2:
        return change
    row = CATALOGUE[case.call.layer]
    if row.signature.argument(change.argument) is None:
        return change  # a fact of the arrays, which is not an argument
    closer = changed(row, case, change.argument, value, value - 1)
    return closer if closer is not None and tried(closer.case) is False else change


def explains(needed: Sequence[Change], case: Case) -> bool:
    """Whether a case has everything that a failure needs.

    Args:
        needed: the changes that make the failure's minimal case pass.
        case: another case.
    """
    found = Facts(case)
    return not any(_lacks(found.get(change.argument), change) for change in needed)


def _lacks(value: Any, change: Change) -> bool:
    """Whether the value of a fact is on the passing side of a change."""
    value = None if value == "absent" else value
    if is_number(change.other) and not change.varied and is_number(change.value):
        if value is None:
            return True
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        if all(map(is_number, numbers)):
            if change.value > change.other:
                return bool(max(numbers, default=change.other) <= change.other)
            if isinstance(change.other, float):
                return bool(min(numbers, default=change.other) >= change.other)
    if isinstance(change.value, str) and change.value != "given":
        return bool(value != change.value)  # different words mean different things
    return same(value, change.other)


def is_number(value: Any) -> bool:
    """Whether a value is a number other than a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
