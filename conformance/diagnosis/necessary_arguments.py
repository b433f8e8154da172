"""Find the arguments that a failure needs, by changing each one of the minimal case in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.minimize import replace_array
from conformance.diagnosis.mutations import Change, change_argument, single_changes
from conformance.layers import CATALOGUE
from conformance.layers.fitting import mean_the_same
from conformance.matching.facts import EQUALITY_SIGN, Facts
from conformance.model.case import Case
from conformance.model.cause import Need

MAX_CHANGES = 40
"""The largest number of changes to try for one failure."""


def find_needs(
    case: Case, run_case: Callable[[Case], bool | None]
) -> tuple[tuple[Need, ...], tuple[Change, ...]]:
    """Find what a failure needs and what it does not depend on.

    Args:
        case: the minimal failing case, a valid call.
        run_case: runs the check on a case: True if it fails in the same way, False if it passes,
            None if that is unknown.

    Returns:
        The effect of each change, and the changes that make the case pass.
    """
    tested_needs, passing_changes = list[Need](), list[Change]()
    for change in itertools.islice(single_changes(case), MAX_CHANGES):
        fails = run_case(change.case)
        if fails is None:
            continue
        smallest_change = change if fails else _smallest_passing_change(case, change, run_case)
        tested_needs.append(as_need(smallest_change, fails=fails))
        passing_changes += [] if fails else [smallest_change]
    for change in _equal_size_changes(case, passing_changes, run_case):
        tested_needs = [
            need
            for need in tested_needs
            if need.argument not in change.argument.split(EQUALITY_SIGN)
        ]
        passing_changes = [
            earlier
            for earlier in passing_changes
            if earlier.argument not in change.argument.split(EQUALITY_SIGN)
        ]
        tested_needs.append(as_need(change))
        passing_changes.append(change)
    return tuple(tested_needs), tuple(passing_changes)


def find_number_threshold(case: Case, run_case: Callable[[Case], bool | None]) -> Change | None:
    """Find the size that the only nonzero number of an input must exceed for the failure.

    Args:
        case: the failing case with the simplest numbers.
        run_case: as in `find_needs`.

    Returns:
        The change to the next smaller integer, if the case then passes; else None.
    """
    spec = CATALOGUE[case.call.layer]
    for input_index, array in enumerate(case.inputs):
        if (
            array is None
            or array.dtype.kind != "f"
            or not spec.signature.inputs[input_index].any_value
        ):
            continue
        nonzero = np.flatnonzero(array)
        value = float(array.reshape(-1)[nonzero[0]]) if len(nonzero) == 1 else 0.0
        if not np.isfinite(value) or abs(value) < 2 or value != np.trunc(value):
            continue
        smaller_value = value - np.sign(value)
        smaller_array = array.copy()
        smaller_array.reshape(-1)[nonzero[0]] = smaller_value
        changed_case = replace_array(case, array, smaller_array)
        if run_case(changed_case) is False:
            end = "max" if value > 0 else "min"
            return Change(
                f"{spec.signature.input_names[input_index]}.{end}",
                value,
                float(smaller_value),
                changed_case,
            )
    return None


def as_need(change: Change, *, fails: bool = False) -> Need:
    """The stored form of a change and its effect."""
    return Need(change.argument, repr(change.value), repr(change.replacement), fails, change.varied)


def _equal_size_changes(
    case: Case, passing_changes: Sequence[Change], run_case: Callable[[Case], bool | None]
) -> Iterator[Change]:
    """Find pairs of sizes whose values do not matter as long as they are equal.

    The case passes if one of them grows or shrinks, but still fails if both grow.
    """
    spec = CATALOGUE[case.call.layer]

    def grow(start: Case, name: str) -> Case | None:
        size = start.call.arguments[name]
        change = change_argument(spec, start, name, size, size + 1)
        return None if change is None else change.case

    sizes = {
        change.argument: change.value
        for change in passing_changes
        if (argument := spec.signature.argument(change.argument)) is not None
        and argument.size
        and type(change.value) is int
    }
    for name, other_name in itertools.combinations(sizes, 2):
        if sizes[name] != sizes[other_name]:
            continue
        grown_first, grown_second = grow(case, name), grow(case, other_name)
        grown_both = None if grown_first is None else grow(grown_first, other_name)
        if grown_first is None or grown_second is None or grown_both is None:
            continue
        if (
            run_case(grown_first) is False
            and run_case(grown_second) is False
            and run_case(grown_both)
        ):
            yield Change(f"{name}{EQUALITY_SIGN}{other_name}", True, False, grown_first)


def _smallest_passing_change(
    case: Case, change: Change, run_case: Callable[[Case], bool | None]
) -> Change:
    """The change by 1 if it also makes the case pass: `"> 128"` says more than `"> 1"`."""
    value, passing_value = change.value, change.replacement
    if type(value) is not int or type(passing_value) is not int or value - passing_value < 2:
        return change
    spec = CATALOGUE[case.call.layer]
    if spec.signature.argument(change.argument) is None:
        return change  # a fact of the arrays, which is not an argument
    closer = change_argument(spec, case, change.argument, value, value - 1)
    return closer if closer is not None and run_case(closer.case) is False else change


def has_all_needs(passing_changes: Sequence[Change], case: Case) -> bool:
    """Whether a case has everything that a failure needs.

    Args:
        passing_changes: the changes that make the failure's minimal case pass.
        case: another case.
    """
    facts = Facts(case)
    return not any(_lacks_need(facts.get(change.argument), change) for change in passing_changes)


def _lacks_need(value: Any, change: Change) -> bool:
    """Whether the value of a fact is on the passing side of a change."""
    value = None if value == "absent" else value
    if is_number(change.replacement) and not change.varied and is_number(change.value):
        if value is None:
            return True
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        if all(map(is_number, numbers)):
            if change.value > change.replacement:
                return bool(max(numbers, default=change.replacement) <= change.replacement)
            if isinstance(change.replacement, float):
                return bool(min(numbers, default=change.replacement) >= change.replacement)
    if isinstance(change.value, str) and change.value != "given":
        return bool(value != change.value)  # different words mean different things
    return mean_the_same(value, change.replacement)


def is_number(value: Any) -> bool:
    """Whether a value is a number other than a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
