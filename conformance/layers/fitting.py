"""Derive a valid case with another argument, or with fewer places along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.model.case import Case
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.shapes import Shape, ShapeError, Shapes, Sizes
from conformance.spec.sizes import resized as stretched


def with_argument(row: LayerSpec, case: Case, name: str, value: Any) -> Case | None:
    """Set one argument and fit the arrays to it; None where the call would be invalid."""
    arguments = {**case.call.arguments, name: value}
    if name in row.signature.defaults and same(value, row.signature.defaults[name]):
        arguments.pop(name)
    return fitted(row, case, arguments)


def resized(row: LayerSpec, case: Case, axes: Axes, places: Sequence[int]) -> Case | None:
    """Select places along one axis of a valid case; None where the call would be invalid.

    Args:
        axes: (input, axis) of each input that has the axis.
        places: indices along the axis.
    """
    inputs = list(case.inputs)
    found: dict[tuple[int, int], np.ndarray] = {}
    for place, axis in axes:
        array = inputs[place]
        if array is not None:
            key = id(case.inputs[place]), axis
            found.setdefault(key, np.take(array, places, axis))
            inputs[place] = found[key]
    return fitted(row, replace(case, inputs=tuple(inputs)), case.call.arguments)


def fitted(row: LayerSpec, case: Case, arguments: Mapping[str, Any]) -> Case | None:
    """Set the arguments and fit the arrays to them; None where the call would be invalid."""
    try:
        if row.variation.refit is not None:
            return row.variation.refit(row, case, dict(arguments))
        changed = replace(case, call=replace(case.call, arguments=arguments))
        if row.shapes is not None:
            changed = _reshaped(row, case, changed)
        return changed if row.variation.allows(row, changed) else None
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None


def _reshaped(row: LayerSpec, case: Case, changed: Case) -> Case:
    """Fit inputs and state to the arguments of `changed`; sizes that none decides stay.

    Args:
        case: the case before its arguments changed.

    Raises:
        ShapeError: where the call would be invalid.
    """
    before = row.sizes(case)
    if before is None or row.shapes is None:
        raise ShapeError("the shapes are not those of a valid call")
    # With other arguments a tensor may have other axes, whose sizes had no name before.
    after = row.sizes(changed)
    found = {**(after.found if after is not None else {}), **before.found}
    written = {**row.written(changed), **row.oracle.counted(changed)}
    sizes = replace(before, arguments=row.signature.complete(written), found=found)
    inputs: list[np.ndarray | None] = []
    made = dict[tuple[int, Shape], np.ndarray]()  # an array that is two inputs stays one
    for name, x in zip(row.signature.input_names, changed.inputs, strict=False):
        array = None if x is None else _input(row.shapes, name, x, before, sizes)
        inputs.append(None if array is None else made.setdefault((id(x), array.shape), array))
    first = inputs[0]
    assert first is not None
    state = _state(row, changed, first.shape)
    layouts = {name: x for name, x in changed.call.layouts.items() if name in state}
    call = replace(changed.call, state=state, layouts=layouts)
    changed = replace(changed, call=call, inputs=tuple(inputs))
    row.shapes.check(sizes, {})
    row.output_shapes(changed)
    return changed


def _state(row: LayerSpec, changed: Case, input: Shape) -> dict[str, np.ndarray]:
    state, arguments = changed.call.state, changed.call.arguments
    source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
    arrays = dict[str, np.ndarray]()
    for tensor in row.state_tensors({**arguments, **row.inferred(input)}, input):
        if tensor.name in state:
            arrays[tensor.name] = stretched(state[tensor.name], tensor.shape)
        elif tensor.name in row.state.constructor_tensors:
            continue  # they are optional in the constructor
        elif tensor.constraint == "any":
            arrays[tensor.name] = stretched(source, tensor.shape)
        else:
            dtype = np.int64 if tensor.integer else np.float64
            arrays[tensor.name] = np.full(tensor.shape, 0 if tensor.integer else 1, dtype)
    return arrays


def _input(
    shapes: Shapes, name: str, x: np.ndarray, before: Sizes, after: Sizes
) -> np.ndarray | None:
    """Fit an input's axis order, sizes and indices from the sizes before to those after."""
    shape = shapes.shape(name, after)
    if shape is None:
        return None
    old, new = ([place.label for place in shapes.places(name, s)] for s in (before, after))
    if old != new and len(set(old)) == len(old) and set(old) == set(new):
        x = np.ascontiguousarray(x.transpose([old.index(label) for label in new]))
    x = _stretched(x, shape)
    limit = shapes.limit(name, after)
    if limit is None:
        return x
    if x.size and limit < 1:
        raise ShapeError("an input of indices needs a limit of at least 1")
    return x % max(limit, 1)


def _stretched(x: np.ndarray, shape: Shape) -> np.ndarray:
    if x.size == 0 and 0 not in shape:
        raise ShapeError("an empty array has no elements to repeat")
    return stretched(x, shape)


def same(value: Any, other: Any) -> bool:
    """Whether two argument values mean the same, as (1, 1) and 1 do."""
    if isinstance(value, (tuple, list)) and isinstance(other, int):
        return all(bool(v == other) for v in value)
    return bool(value == other)
