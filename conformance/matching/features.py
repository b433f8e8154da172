"""Features of a case's structure: named scalar values that conditions can compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.layers import CATALOGUE
from conformance.matching.facts import facts
from conformance.model.case import Case

_DIMENSIONS = 3  # trailing axes of an input's shape that are features


def features(case: Case) -> dict[str, Any]:
    """The structure of a case: arguments, whether they are passed, and the form of inputs.

    An argument with one number for each dimension becomes `largest <name>` and `smallest <name>`,
    and also `<name>` if all numbers are equal.
    """
    spec, call = CATALOGUE[case.call.layer], case.call
    case_facts = facts(case)
    result: dict[str, Any] = {}
    for name, value in case_facts.items():
        result |= _features_of_value(name, value, name in spec.signature.per_dimension)
    tensors = {*spec.signature.input_names, *spec.state.constructor_tensors}
    for name in {**spec.signature.defaults, **case_facts}:
        if name not in spec.signature.required and name not in tensors and "." not in name:
            result[f"{name} written out"] = name in call.arguments or name in case.keywords
    for name, array in zip(spec.signature.input_names, case.inputs, strict=False):
        if array is not None:
            for k in range(1, min(array.ndim, _DIMENSIONS) + 1):
                result[f"{name}.shape[-{k}]"] = array.shape[-k]
            result[f"{name} is integer"] = array.dtype.kind == "i"
    result["training"] = call.training
    return result


def structure(case: Case) -> tuple[Any, ...]:
    """A hashable key of everything in a case except the numbers in its arrays."""
    call = case.call
    return (
        _hashable(call.arguments),
        _hashable({name: array.shape for name, array in call.state.items()}),
        _hashable(call.layouts),
        _hashable(case.keywords),
        tuple(None if x is None else (x.shape, x.dtype.kind) for x in case.inputs),
        (case.layouts, case.cotangent_layouts),
        (call.dtype, call.training),
    )


def _features_of_value(name: str, value: Any, per_dimension: bool) -> dict[str, Any]:
    is_sequence = isinstance(value, (tuple, list))
    if not is_sequence and not (per_dimension and isinstance(value, int)):
        return {name: value}
    numbers = tuple(value) if is_sequence else (value,)
    if not numbers or not all(isinstance(v, int) for v in numbers):
        return {name: repr(numbers)}
    all_equal = len(set(numbers)) == 1
    return {
        **({name: numbers[0]} if all_equal else {}),
        f"largest {name}": max(numbers),
        f"smallest {name}": min(numbers),
        f"{name} differs by place": not all_equal,
    }


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((str(k), _hashable(v)) for k, v in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return (type(value).__name__, *map(_hashable, value))
    return repr(value)
