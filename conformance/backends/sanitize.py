"""Check the results of a layer's members, and convert them to builtin types and copied arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from conformance.backends.foreign_calls import call_foreign
from conformance.model.failure import Failure
from conformance.model.finding import contract_violation
from conformance.model.untrusted import (
    as_builtin_str,
    is_mapping,
    is_of_type,
    safe_repr,
    sequence_elements,
    type_name,
)

MAX_NAME = 100
"""Most characters of the name of a backend, a device or a dtype."""
MAX_ENTRIES = 10_000
"""Limit for the entries of a mapping from a layer; a mapping must have fewer."""
_MAPPING_TEXT = "a mapping by name"
_GRADIENTS_TEXT = "a pair: the inputs' gradients, and a mapping of the parameters' by name"


def _read_array(value: Any) -> np.ndarray:
    if type(value) is not np.ndarray:
        subclass_text = "a subclass, " if is_of_type(value, np.ndarray) else ""
        raise Failure(
            contract_violation("get", subclass_text + type_name(value), "a numpy.ndarray itself")
        )
    if value.dtype.kind not in "fciub":
        raise Failure(contract_violation("get", f"an array of dtype {value.dtype}", "numbers"))
    # Copy it, because the backend may write into the array later.
    return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _name_reader(member: str, expected: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        text = as_builtin_str(value)
        if text is None or len(text) > MAX_NAME:
            raise Failure(contract_violation(member, safe_repr(value), expected))
        return text

    return read


def _read_shape(value: Any) -> tuple[int, ...]:
    elements_read = sequence_elements(value)
    sizes = [
        operator.index(size) for size in elements_read or () if is_of_type(size, int, np.integer)
    ]
    if elements_read is None or len(sizes) != len(elements_read):
        raise Failure(contract_violation("shape", safe_repr(value), "a tuple of integers"))
    return tuple(map(int, sizes))


def read_mapping(member: str, value: Any, expected: str = _MAPPING_TEXT) -> dict[str, Any]:
    if not is_mapping(value):
        raise Failure(contract_violation(member, safe_repr(value), expected))
    try:
        pairs = call_foreign(lambda: [(key, value[key]) for key in islice(value, MAX_ENTRIES)])
    except Exception as error:
        raise Failure(contract_violation(member, f"a {type_name(value)}", expected)) from error
    names = [as_builtin_str(key) for key, _ in pairs]
    if len(names) == MAX_ENTRIES or any(name is None for name in names):
        raise Failure(contract_violation(member, safe_repr(value), expected))
    return {str(name): part for name, (_, part) in zip(names, pairs, strict=True)}


def _read_state(value: Any) -> dict[str, Any]:
    return read_mapping("state", value)


def _read_attributes(value: Any) -> dict[str, Any]:
    return {name: _to_builtin(part) for name, part in read_mapping("attributes", value).items()}


def _read_module_facts(value: Any) -> dict[str, Any]:
    facts = {name: _to_builtin(x) for name, x in read_mapping("module_facts", value).items()}
    for name, pair in facts.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise Failure(contract_violation("module_facts", f"{name}: {pair!r:.200}", "pairs"))
    return facts


def _to_builtin(value: Any) -> Any:
    """Convert a value to exact builtin types; another value becomes the text of its repr."""
    items = sequence_elements(value)
    if items is not None:
        parts = map(_to_builtin, items)
        return tuple(parts) if is_of_type(value, tuple) else list(parts)
    if is_of_type(value, str):
        return str.__str__(value)
    if type(value) in (bool, type(None), complex):
        return value
    if not is_of_type(value, int, float):
        return safe_repr(value)
    return int.__int__(value) if is_of_type(value, int) else float.__float__(value)


def _bool(value: Any) -> bool:
    if type(value) not in (bool, np.bool_):
        raise Failure(contract_violation("aliases", safe_repr(value), "True or False"))
    return bool(value)


def _read_natives(value: Any) -> Any:
    items = sequence_elements(value)
    return value if items is None else items


def _gradients_reader(member: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        items = sequence_elements(value)
        inputs = sequence_elements(items[0]) if items is not None and len(items) == 2 else None
        if items is None or inputs is None:
            raise Failure(contract_violation(member, _kind_text(value), _GRADIENTS_TEXT))
        return inputs, read_mapping(member, items[1], _GRADIENTS_TEXT)

    return read


def _read_outputs_and_gradients(value: Any) -> Any:
    items = sequence_elements(value)
    if items is None or len(items) != 3:
        expected = f"three: the outputs, then {_GRADIENTS_TEXT.removeprefix('a pair: ')}"
        raise Failure(contract_violation("value_and_vjp", _kind_text(value), expected))
    return (_read_natives(items[0]), *_gradients_reader("value_and_vjp")(items[1:]))


def _read_second_derivatives(value: Any) -> Any:
    items = sequence_elements(value)
    by_cotangent = sequence_elements(items[2]) if items is not None and len(items) == 3 else None
    if items is None or by_cotangent is None:
        expected = f"three: {_GRADIENTS_TEXT.removeprefix('a pair: ')}, then one a cotangent"
        raise Failure(contract_violation("double_vjp", _kind_text(value), expected))
    return (*_gradients_reader("double_vjp")(items[:2]), by_cotangent)


def _kind_text(value: Any) -> str:
    items = sequence_elements(value)
    return f"a {type_name(value)}" + ("" if items is None else f" of {len(items)}")


def _unchanged(value: Any) -> Any:
    return value


RESULT_READERS: Mapping[str, Callable[[Any], Any]] = {
    "put": _unchanged, "get": _read_array, "call": _read_natives, "forward_grad": _read_natives,
    "dtype": _name_reader("dtype", "torch's name of a dtype, such as 'float32'"),
    "device": _name_reader("device", "the name of a device, such as 'cpu'"),
    "shape": _read_shape, "state": _read_state, "attributes": _read_attributes, "aliases": _bool,
    "vjp": _gradients_reader("vjp"), "vjp_of": _gradients_reader("vjp_of"),
    "accumulate": _gradients_reader("accumulate"),
    "value_and_vjp": _read_outputs_and_gradients, "double_vjp": _read_second_derivatives,
    "jvp": _read_natives, "vmap": _read_natives, "jvp_vjp": _gradients_reader("jvp_vjp"),
    "vmap_vjp": _gradients_reader("vmap_vjp"), "vmap_random": _read_natives,
    "copy_layer": _unchanged, "autocast": _unchanged, "module_facts": _read_module_facts,
    "load": _unchanged, "train": _unchanged, "sync": _unchanged, "stopwatch": _unchanged,
    "copy": _unchanged, "fallbacks": _unchanged,
}  # fmt: skip
"""Method of a layer → function that checks and converts its result."""
