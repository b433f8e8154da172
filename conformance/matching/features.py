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
    row, call = CATALOGUE[case.call.layer], case.call
    found = facts(case)
    plain: dict[str, Any] = {}
    for name, value in found.items():
        plain |= _spread(name, value, name in row.signature.per_dimension)
    tensors = {*row.signature.input_names, *row.state.constructor_tensors}
    for name in {**row.signature.defaults, **found}:
        if name not in row.signature.required and name not in tensors and "." not in name:
            plain[f"{name} written out"] = name in call.arguments or name in case.keywords
    for name, array in zip(row.signature.input_names, case.inputs, strict=False):
        if array is not None:
            for k in range(1, min(array.ndim, _DIMENSIONS) + 1):
                plain[f"{name}.shape[-{k}]"] = array.shape[-k]
            plain[f"{name} is integer"] = array.dtype.kind == "i"
    plain["training"] = call.training
    return plain


def structure(case: Case) -> tuple[Any, ...]:
    """A hashable key of everything in a case except the numbers in its arrays."""
    call = case.call
    return (
        _frozen(call.arguments),
        _frozen({name: array.shape for name, array in call.state.items()}),
        _frozen(call.layouts),
        _frozen(case.keywords),
        tuple(None if x is None else (x.shape, x.dtype.kind) for x in case.inputs),
        (case.layouts, case.cotangent_layouts),
        (call.dtype, call.training),
    )


def _spread(name: str, value: Any, sized: bool) -> dict[str, Any]:
    several = isinstance(value, (tuple, list))
    if not several and not (sized and isinstance(value, int)):
        return {name: value}
    numbers = tuple(value) if several else (value,)
    if not numbers or not all(isinstance(v, int) for v in numbers):
        return {name: repr(numbers)}
    same = len(set(numbers)) == 1
    return {
        **({name: numbers[0]} if same else {}),
        f"largest {name}": max(numbers),
        f"smallest {name}": min(numbers),
        f"{name} differs by place": not same,
    }


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((str(k), _frozen(v)) for k, v in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return (type(value).__name__, *map(_frozen, value))
    return repr(value)
