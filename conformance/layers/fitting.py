"""Derive a valid case with another argument, or with fewer places along an axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.model.case import Case
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.shapes import Shape, ShapeError, Shapes, Sizes
from conformance.spec.sizes import resized as stretched


def replace_argument(spec: LayerSpec, case: Case, name: str, value: Any) -> Case | None:
    """Set one argument and fit the arrays to it; None where the call would be invalid."""
    arguments = {**case.call.arguments, name: value}
    if name in spec.signature.defaults and mean_the_same(value, spec.signature.defaults[name]):
        arguments.pop(name)
    return fit_arguments(spec, case, arguments)


def select_places(
    spec: LayerSpec, case: Case, axes: Axes, places: Sequence[int] | np.ndarray
) -> Case | None:
    """Select places along one axis of a valid case; None where the call would be invalid.

    Args:
        axes: (input, axis) of each input that has the axis.
        places: indices along the axis.
    """
    inputs = list(case.inputs)
    selected: dict[tuple[int, int], np.ndarray] = {}
    for place, axis in axes:
        array = inputs[place]
        if array is not None:
            key = id(case.inputs[place]), axis
            selected.setdefault(key, np.take(array, places, axis))
            inputs[place] = selected[key]
    return fit_arguments(spec, replace(case, inputs=tuple(inputs)), case.call.arguments)


def leave_out_inputs(spec: LayerSpec, case: Case) -> Iterator[tuple[str, Any, Case]]:
    """Leave out each keyword, all hidden states together, and each other optional input.

    Yields:
        What is left out, its value (`"given"` for an input), and the valid case without it.
    """
    # If the call needs its keywords, none can be left out.
    omittable = {} if spec.variation.needs_keywords(case) else case.keywords
    for name, value in omittable.items():
        remaining = {key: v for key, v in case.keywords.items() if key != name}
        yield name, value, replace(case, keywords=remaining)
    hidden_places = [k for k in spec.signature.input_indices("hidden") if k < len(case.inputs)]
    hidden = (hidden_places,) if hidden_places and case.inputs[hidden_places[0]] is not None else ()
    optional_places = (
        [k]
        for k, x in enumerate(case.inputs)
        if spec.signature.inputs[k].optional and k not in hidden_places and x is not None
    )
    for indices in (*hidden, *optional_places):
        remaining_inputs = tuple(None if k in indices else x for k, x in enumerate(case.inputs))
        changed_case = fit_arguments(
            spec, replace(case, inputs=remaining_inputs), case.call.arguments
        )
        if changed_case is not None:
            yield spec.signature.input_names[indices[0]], "given", changed_case


def fit_arguments(spec: LayerSpec, case: Case, arguments: Mapping[str, Any]) -> Case | None:
    """Set the arguments and fit the arrays to them; None where the call would be invalid."""
    try:
        if spec.variation.resize is not None:
            return spec.variation.resize(spec, case, dict(arguments))
        changed = replace(case, call=replace(case.call, arguments=arguments))
        if spec.shapes is not None:
            changed = _fit_arrays(spec, case, changed)
        return changed if spec.variation.allows(spec, changed) else None
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None


def _fit_arrays(spec: LayerSpec, case: Case, changed: Case) -> Case:
    """Fit inputs and state to the arguments of `changed`; sizes that none decides stay.

    Args:
        case: the case before its arguments changed.

    Raises:
        ShapeError: where the call would be invalid.
    """
    old_sizes = spec.sizes(case)
    if old_sizes is None or spec.shapes is None:
        raise ShapeError("the shapes are not those of a valid call")
    # With other arguments a tensor may have other axes, whose sizes had no name before.
    new_sizes = spec.sizes(changed)
    known_sizes = {
        **(new_sizes.from_tensors if new_sizes is not None else {}),
        **old_sizes.from_tensors,
    }
    written = {**spec.oracle_arguments(changed), **spec.oracle.value_inferred_arguments(changed)}
    sizes = replace(
        old_sizes, arguments=spec.signature.complete_arguments(written), from_tensors=known_sizes
    )
    inputs: list[np.ndarray | None] = []
    fitted_arrays = dict[tuple[int, Shape], np.ndarray]()  # an array that is two inputs stays one
    for name, x in zip(spec.signature.input_names, changed.inputs, strict=False):
        array = None if x is None else _fit_input(spec.shapes, name, x, old_sizes, sizes)
        inputs.append(
            None if array is None else fitted_arrays.setdefault((id(x), array.shape), array)
        )
    first = inputs[0]
    assert first is not None
    state = _fit_state(spec, changed, first.shape)
    layouts = {name: x for name, x in changed.call.layouts.items() if name in state}
    call = replace(changed.call, state=state, layouts=layouts)
    changed = replace(changed, call=call, inputs=tuple(inputs))
    spec.shapes.validate(sizes, {})
    spec.output_shapes(changed)
    return changed


def _fit_state(spec: LayerSpec, case: Case, input: Shape) -> dict[str, np.ndarray]:
    state, arguments = case.call.state, case.call.arguments
    source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
    arrays = dict[str, np.ndarray]()
    for tensor in spec.state_tensors({**arguments, **spec.inferred_arguments(input)}, input):
        if tensor.name in state:
            arrays[tensor.name] = stretched(state[tensor.name], tensor.shape)
        elif tensor.name in spec.state.constructor_tensors:
            continue  # they are optional in the constructor
        elif tensor.constraint == "any":
            arrays[tensor.name] = stretched(source, tensor.shape)
        else:
            dtype = np.int64 if tensor.integer else np.float64
            arrays[tensor.name] = np.full(tensor.shape, 0 if tensor.integer else 1, dtype)
    return arrays


def _fit_input(
    shapes: Shapes, name: str, x: np.ndarray, old_sizes: Sizes, new_sizes: Sizes
) -> np.ndarray | None:
    """Fit an input's axis order, sizes and indices from the sizes before to those after."""
    shape = shapes.shape(name, new_sizes)
    if shape is None:
        return None
    old, new = ([place.label for place in shapes.axes_of(name, s)] for s in (old_sizes, new_sizes))
    if old != new and len(set(old)) == len(old) and set(old) == set(new):
        x = np.ascontiguousarray(x.transpose([old.index(label) for label in new]))
    x = _resize_nonempty(x, shape)
    limit = shapes.index_limit(name, new_sizes)
    if limit is None:
        return x
    if x.size and limit < 1:
        raise ShapeError("an input of indices needs a limit of at least 1")
    return x % max(limit, 1)


def _resize_nonempty(x: np.ndarray, shape: Shape) -> np.ndarray:
    if x.size == 0 and 0 not in shape:
        raise ShapeError("an empty array has no elements to repeat")
    return stretched(x, shape)


def mean_the_same(value: Any, default: Any) -> bool:
    """Whether two argument values mean the same, as (1, 1) and 1 do."""
    if isinstance(value, (tuple, list)) and isinstance(default, int):
        return all(bool(v == default) for v in value)
    return bool(value == default)
