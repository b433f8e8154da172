"""Valid calls that differ from a case in one argument or one size of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.layers import CATALOGUE
from conformance.layers.fitting import (
    fit_arguments,
    leave_out_inputs,
    mean_the_same,
    replace_argument,
    select_places,
)
from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec


@dataclass(frozen=True)
class Change:
    """A minimal case with one argument changed.

    Args:
        argument: its name.
        value, replacement: its value in the minimal case, and in the changed one.
        case: the changed case.
        varied: see `Need`.
    """

    argument: str
    value: Any
    replacement: Any
    case: Case
    varied: bool = False


def single_changes(case: Case) -> Iterator[Change]:
    """Valid cases that differ from a case in one argument, its mode, an input or one size."""
    spec, arguments = CATALOGUE[case.call.layer], case.call.arguments
    defaults, has_keywords = spec.signature.defaults, bool(case.keywords)
    for name, value in arguments.items():
        argument = spec.signature.argument(name)
        if argument is None or (has_keywords and argument.window):
            continue  # only some output sizes are possible
        default_size = 1 if argument.size and argument.simplest is None else argument.simplest
        simplest = defaults.get(name, default_size)
        if name not in defaults and simplest is None:
            continue
        if not mean_the_same(value, simplest):
            yield from _as_tuple(change_argument(spec, case, name, value, simplest))
        elif argument.size and type(value) is int:
            yield from _as_tuple(change_argument(spec, case, name, value, value + 1, varied=True))
    if spec.traits.train_and_eval_differ and spec.traits.valid_in_train_mode(case):
        call = replace(case.call, training=not case.call.training)
        changed_case = fit_arguments(spec, replace(case, call=call), arguments)
        if changed_case is not None:
            yield Change(
                "training",
                case.call.training,
                call.training,
                changed_case,
                varied=not case.call.training,
            )
    for name, value, changed_case in leave_out_inputs(spec, case):
        yield Change(name, value, None, changed_case)
    yield from _batch_changes(spec, case)
    yield from _axis_changes(spec, case)
    has_word_window = any(
        isinstance(arguments.get(name), str) for name in spec.signature.window_arguments
    )
    for argument in spec.signature.arguments:
        name = argument.name
        value = arguments.get(name, defaults.get(name))
        if argument.alternative is None or not mean_the_same(value, argument.default):
            continue
        if argument.window and (has_word_window or has_keywords):
            continue
        yield from _as_tuple(
            change_argument(spec, case, name, value, argument.alternative, varied=True)
        )


def _as_tuple(change: Change | None) -> tuple[Change, ...]:
    return () if change is None else (change,)


def change_argument(
    spec: LayerSpec, case: Case, name: str, value: Any, replacement: Any, *, varied: bool = False
) -> Change | None:
    """Change one argument of a case and fit the arrays; None if the call would be invalid.

    Args:
        value, replacement: the argument's present and its new value.
        varied: see `Need`.
    """
    changed_case = replace_argument(spec, case, name, replacement)
    return None if changed_case is None else Change(name, value, replacement, changed_case, varied)


def _batch_changes(spec: LayerSpec, case: Case) -> Iterator[Change]:
    """Change the batch size to 1, or remove the batch axis if it is 1."""
    first, axis = case.inputs[0], spec.batch_axis(case, 0)
    if first is None or axis is None or case.keywords:
        return
    count = first.shape[axis]
    if count > 1:
        smaller_case = select_places(spec, case, spec.resizable_axes(case)[0], range(1))
        if smaller_case is not None:
            yield Change("batch", count, 1, smaller_case)
    elif spec.signature.dims and axis == 0:
        replacement = None if count else 1
        x = first[0] if count else np.zeros((1, *first.shape[1:]))
        changed_case = replace(case, inputs=(x, *case.inputs[1:]))
        fitted_case = fit_arguments(spec, changed_case, case.call.arguments)
        if fitted_case is not None:
            yield Change("batch", count, replacement, fitted_case)


def _axis_changes(spec: LayerSpec, case: Case) -> Iterator[Change]:
    """Remove the last element along each axis, for sizes that no argument sets."""
    for axes in spec.resizable_axes(case):
        input_index, axis = axes[0]
        array = case.inputs[input_index]
        if array is None or array.shape[axis] < 2 or axis == spec.batch_axis(case, input_index):
            continue
        size = array.shape[axis]
        smaller_case = select_places(spec, case, axes, range(size - 1))
        if smaller_case is not None:
            name = f"{spec.signature.input_names[input_index]}.shape[{axis - array.ndim}]"
            yield Change(name, size, size - 1, smaller_case)
