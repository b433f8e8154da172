"""Which arguments a failure needs: the minimal case with each of them changed in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.failures.facts import facts
from conformance.layers import CATALOGUE
from conformance.layers.row import Row
from conformance.model.case import Case, Need

TRIES = 20
"""Cases that are tried at most for one failure."""


@dataclass(frozen=True)
class Change:
    """A minimal case with one argument changed.

    Args:
        argument: its name.
        value, other: what it is in the minimal case, and here.
        case: the changed case.
        varied: see `Need`.
    """

    argument: str
    value: Any
    other: Any
    case: Case
    varied: bool = False


def needs(
    case: Case, tried: Callable[[Case], bool | None]
) -> tuple[tuple[Need, ...], tuple[Change, ...]]:
    """What a failure needs, and what it is independent of.

    Args:
        case: the minimal failing case, a valid call.
        tried: runs the check on a case: True if it fails in the same way, False if it passes,
            None where that is unknown.

    Returns:
        What became of each change, and the changes that make the case pass.
    """
    found, needed = list[Need](), list[Change]()
    for count, change in enumerate(changes(case)):
        if count == TRIES:
            break
        fails = tried(change.case)
        if fails is not None:
            value, other = repr(change.value), repr(change.other)
            found.append(Need(change.argument, value, other, fails, change.varied))
            needed += [] if fails else [change]
    return tuple(found), tuple(needed)


def explains(needed: Sequence[Change], case: Case) -> bool:
    """Whether a failing case has all that a failure needs.

    Args:
        needed: the changes that make the failure's minimal case pass.
        case: another failing case; what it says nothing of is taken to be there.
    """
    if not needed:
        return True
    found = facts(case)
    row, first = CATALOGUE[case.call.layer], case.inputs[0]
    if first is not None and row.dims:
        axis = row.batch_axis(case, 0)
        found["batch"] = None if axis is None else first.shape[axis]
    return not any(
        change.argument in found and _same(_given(found[change.argument]), change.other)
        for change in needed
    )


def _given(value: Any) -> Any:
    return None if value == "absent" else value


def changes(case: Case) -> Iterator[Change]:
    """The valid cases that differ from one in an argument, or in what belongs to the call."""
    row, written = CATALOGUE[case.call.layer], case.call.arguments
    plain, sized = row.defaults, bool(case.keywords)
    for name, value in written.items():
        argument = row.argument(name)
        if argument is None or (sized and argument.window):
            continue  # only some sizes can come out
        if name in plain and not _same(value, plain[name]):
            yield from _changed(row, case, name, value, plain[name])
        elif argument.plain is not None and not _same(value, argument.plain):
            yield from _changed(row, case, name, value, argument.plain)
    yield from _without(row, case)
    yield from _batches(row, case)
    words = any(isinstance(written.get(name), str) for name in row.windows)
    for argument in row.arguments:
        name = argument.name
        value = written.get(name, plain.get(name))
        if argument.other is None or not _same(value, argument.default):
            continue
        if argument.window and (words or sized):
            continue
        yield from _changed(row, case, name, value, argument.other, varied=True)


def _changed(
    row: Row, case: Case, name: str, value: Any, other: Any, *, varied: bool = False
) -> Iterator[Change]:
    arguments = {**case.call.arguments, name: other}
    if not varied and name in row.defaults:
        arguments.pop(name)
    try:
        fitted = _fitted(row, case, arguments)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return
    if fitted is not None:
        yield Change(name, value, other, fitted, varied)


def _without(row: Row, case: Case) -> Iterator[Change]:
    """Left out: keywords, hidden states together, and every other input that may be."""
    for name, value in case.keywords.items():
        kept = {key: v for key, v in case.keywords.items() if key != name}
        yield Change(name, value, None, replace(case, keywords=kept))
    given = [k for k in row.places("hidden") if k < len(case.inputs)]
    if given and case.inputs[given[0]] is not None:
        left = tuple(None if k in given else x for k, x in enumerate(case.inputs))
        yield Change(row.input_names[given[0]], "given", None, replace(case, inputs=left))
    for k, x in enumerate(case.inputs):
        if row.inputs[k].optional and k not in given and x is not None:
            left = tuple(None if place == k else y for place, y in enumerate(case.inputs))
            yield Change(row.input_names[k], "given", None, replace(case, inputs=left))


def _batches(row: Row, case: Case) -> Iterator[Change]:
    """A batch of one instead of more or none, and no batch instead of one."""
    first = case.inputs[0]
    if first is None or not row.dims or case.keywords or row.batch_axis(case, 0) != 0:
        return
    count = len(first)
    other = None if count == 1 else 1
    smaller = first[0] if count == 1 else np.resize(first, (1, *first.shape[1:]))
    inputs = (smaller, *case.inputs[1:])
    yield Change("batch", count, other, replace(case, inputs=inputs))


def _fitted(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its arrays in the shapes that these ask for.

    Returns:
        None where the call would be invalid.
    """
    if row.refit is not None:
        return row.refit(row, case, arguments)
    return replace(case, call=replace(case.call, arguments=arguments))


def _same(value: Any, other: Any) -> bool:
    """Whether values mean the same, as 1 and (1, 1) do."""
    if isinstance(value, (tuple, list)) and isinstance(other, int):
        return all(bool(v == other) for v in value)
    return bool(value == other)
