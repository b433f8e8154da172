"""A case with another argument, or with another size of its arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.model.case import Case
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec


def with_argument(row: LayerSpec, case: Case, name: str, value: Any) -> Case | None:
    """A valid case with another value of one argument, its arrays fitted to that.

    Args:
        value: what it shall be.

    Returns:
        None where the call would be invalid.
    """
    arguments = {**case.call.arguments, name: value}
    if name in row.signature.defaults and same(value, row.signature.defaults[name]):
        arguments.pop(name)
    return fitted(row, case, arguments)


def resized(row: LayerSpec, case: Case, axes: Axes, places: Sequence[int]) -> Case | None:
    """The case with some places of an axis only.

    Args:
        case: a valid case.
        axes: of the inputs that have the axis.
        places: along the axis.

    Returns:
        None where the call would be invalid.
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
    """The case with other arguments, its arrays in the shapes that these ask for.

    Returns:
        None where the call would be invalid.
    """
    try:
        if row.variation.refit is not None:
            return row.variation.refit(row, case, dict(arguments))
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def same(value: Any, other: Any) -> bool:
    """Whether values mean the same, as 1 and (1, 1) do."""
    if isinstance(value, (tuple, list)) and isinstance(other, int):
        return all(bool(v == other) for v in value)
    return bool(value == other)
