"""Valid calls that differ from a case in one argument or one size of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.layers import CATALOGUE
from conformance.layers.fitting import fitted, resized, same, with_argument
from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec


@dataclass(frozen=True)
class Change:
    """A minimal case with one argument changed.

    Args:
        argument: its name.
        value, other: its value in the minimal case, and in the changed one.
        case: the changed case.
        varied: see `Need`.
    """

    argument: str
    value: Any
    other: Any
    case: Case
    varied: bool = False


def changes(case: Case) -> Iterator[Change]:
    """Valid cases that differ from a case in one argument, its mode, an input or one size."""
    row, written = CATALOGUE[case.call.layer], case.call.arguments
    plain, sized = row.signature.defaults, bool(case.keywords)
    for name, value in written.items():
        argument = row.signature.argument(name)
        if argument is None or (sized and argument.window):
            continue  # only some output sizes are possible
        fewest = 1 if argument.size and argument.plain is None else argument.plain
        least = plain.get(name, fewest)
        if name not in plain and least is None:
            continue
        if not same(value, least):
            yield from _some(changed(row, case, name, value, least))
        elif argument.size and type(value) is int:
            yield from _some(changed(row, case, name, value, value + 1, varied=True))
    if row.traits.modes and row.traits.trains(case):
        call = replace(case.call, training=not case.call.training)
        other = fitted(row, replace(case, call=call), written)
        if other is not None:
            yield Change(
                "training", case.call.training, call.training, other, varied=not case.call.training
            )
    yield from _without(row, case)
    yield from _batches(row, case)
    yield from _axes(row, case)
    words = any(isinstance(written.get(name), str) for name in row.signature.windows)
    for argument in row.signature.arguments:
        name = argument.name
        value = written.get(name, plain.get(name))
        if argument.other is None or not same(value, argument.default):
            continue
        if argument.window and (words or sized):
            continue
        yield from _some(changed(row, case, name, value, argument.other, varied=True))


def _some(change: Change | None) -> tuple[Change, ...]:
    return () if change is None else (change,)


def changed(
    row: LayerSpec, case: Case, name: str, value: Any, other: Any, *, varied: bool = False
) -> Change | None:
    """Change one argument of a case and fit the arrays; None if the call would be invalid.

    Args:
        value, other: the argument's present and its new value.
        varied: see `Need`.
    """
    found = with_argument(row, case, name, other)
    return None if found is None else Change(name, value, other, found, varied)


def _without(row: LayerSpec, case: Case) -> Iterator[Change]:
    """Leave out each keyword, all hidden states together, and each other optional input."""
    # If the call needs its keywords, none can be left out.
    free = {} if row.variation.needs_keywords(case) else case.keywords
    for name, value in free.items():
        kept = {key: v for key, v in case.keywords.items() if key != name}
        yield Change(name, value, None, replace(case, keywords=kept))
    given = [k for k in row.signature.places("hidden") if k < len(case.inputs)]
    hidden = (given,) if given and case.inputs[given[0]] is not None else ()
    others = (
        [k]
        for k, x in enumerate(case.inputs)
        if row.signature.inputs[k].optional and k not in given and x is not None
    )
    for places in (*hidden, *others):
        left = tuple(None if k in places else x for k, x in enumerate(case.inputs))
        other = fitted(row, replace(case, inputs=left), case.call.arguments)
        if other is not None:
            yield Change(row.signature.input_names[places[0]], "given", None, other)


def _batches(row: LayerSpec, case: Case) -> Iterator[Change]:
    """Change the batch size to 1, or remove the batch axis if it is 1."""
    first, axis = case.inputs[0], row.batch_axis(case, 0)
    if first is None or axis is None or case.keywords:
        return
    count = first.shape[axis]
    if count > 1:
        fewer = resized(row, case, row.axes(case)[0], range(1))
        if fewer is not None:
            yield Change("batch", count, 1, fewer)
    elif row.signature.dims and axis == 0:
        other = None if count else 1
        x = first[0] if count else np.zeros((1, *first.shape[1:]))
        changed_case = replace(case, inputs=(x, *case.inputs[1:]))
        found = fitted(row, changed_case, case.call.arguments)
        if found is not None:
            yield Change("batch", count, other, found)


def _axes(row: LayerSpec, case: Case) -> Iterator[Change]:
    """Remove the last element along each axis, for sizes that no argument sets."""
    for axes in row.axes(case):
        place, axis = axes[0]
        array = case.inputs[place]
        if array is None or array.shape[axis] < 2 or axis == row.batch_axis(case, place):
            continue
        size = array.shape[axis]
        fewer = resized(row, case, axes, range(size - 1))
        if fewer is not None:
            name = f"{row.signature.input_names[place]}.shape[{axis - array.ndim}]"
            yield Change(name, size, size - 1, fewer)
