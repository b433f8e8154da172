"""Check the results of a layer's members, and convert them to builtin types and copied arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from conformance.backends.foreign_calls import call
from conformance.model.failure import Failure
from conformance.model.finding import returned
from conformance.model.untrusted import elements, exact_text, is_mapping, of_type, shown, type_name

NAME = 100
"""Most characters of the name of a backend, a device or a dtype."""
MANY = 10_000
"""Limit for the entries of a mapping from a layer; a mapping must have fewer."""
_NAMED = "a mapping by name"
_PAIR = "a pair: the inputs' gradients, and a mapping of the parameters' by name"


def _array(value: Any) -> np.ndarray:
    if type(value) is not np.ndarray:
        other = "a subclass, " if of_type(value, np.ndarray) else ""
        raise Failure(returned("get", other + type_name(value), "a numpy.ndarray itself"))
    if value.dtype.kind not in "fciub":
        raise Failure(returned("get", f"an array of dtype {value.dtype}", "numbers"))
    # Copy it, because the backend may write into the array later.
    return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")


def _name(what: str, expected: str) -> Callable[[Any], str]:
    def plain(value: Any) -> str:
        text = exact_text(value)
        if text is None or len(text) > NAME:
            raise Failure(returned(what, shown(value), expected))
        return text

    return plain


def _shape(value: Any) -> tuple[int, ...]:
    found = elements(value)
    sizes = [operator.index(size) for size in found or () if of_type(size, int, np.integer)]
    if found is None or len(sizes) != len(found):
        raise Failure(returned("shape", shown(value), "a tuple of integers"))
    return tuple(map(int, sizes))


def mapping(what: str, value: Any, expected: str = _NAMED) -> dict[str, Any]:
    if not is_mapping(value):
        raise Failure(returned(what, shown(value), expected))
    try:
        pairs = call(lambda: [(key, value[key]) for key in islice(value, MANY)])
    except Exception as error:
        raise Failure(returned(what, f"a {type_name(value)}", expected)) from error
    names = [exact_text(key) for key, _ in pairs]
    if len(names) == MANY or any(name is None for name in names):
        raise Failure(returned(what, shown(value), expected))
    return {str(name): part for name, (_, part) in zip(names, pairs, strict=True)}


def _state(value: Any) -> dict[str, Any]:
    return mapping("state", value)


def _attributes(value: Any) -> dict[str, Any]:
    return {name: _plain(part) for name, part in mapping("attributes", value).items()}


def _plain(value: Any) -> Any:
    """Convert a value to exact builtin types; another value becomes the text of its repr."""
    found = elements(value)
    if found is not None:
        parts = map(_plain, found)
        return tuple(parts) if of_type(value, tuple) else list(parts)
    if of_type(value, str):
        return str.__str__(value)
    if type(value) in (bool, type(None), complex):
        return value
    if not of_type(value, int, float):
        return shown(value)
    return int.__int__(value) if of_type(value, int) else float.__float__(value)


def _truth(value: Any) -> bool:
    if type(value) not in (bool, np.bool_):
        raise Failure(returned("aliases", shown(value), "True or False"))
    return bool(value)


def _natives(value: Any) -> Any:
    found = elements(value)
    return value if found is None else found


def _gradients(what: str) -> Callable[[Any], Any]:
    def plain(value: Any) -> Any:
        found = elements(value)
        inputs = elements(found[0]) if found is not None and len(found) == 2 else None
        if found is None or inputs is None:
            raise Failure(returned(what, _form(value), _PAIR))
        return inputs, mapping(what, found[1], _PAIR)

    return plain


def _outputs_and_gradients(value: Any) -> Any:
    found = elements(value)
    if found is None or len(found) != 3:
        expected = f"three: the outputs, then {_PAIR.removeprefix('a pair: ')}"
        raise Failure(returned("value_and_vjp", _form(value), expected))
    return (_natives(found[0]), *_gradients("value_and_vjp")(found[1:]))


def _form(value: Any) -> str:
    found = elements(value)
    return f"a {type_name(value)}" + ("" if found is None else f" of {len(found)}")


def _as_it_is(value: Any) -> Any:
    return value


RESULTS: Mapping[str, Callable[[Any], Any]] = {
    "put": _as_it_is, "get": _array, "call": _natives, "forward_grad": _natives,
    "dtype": _name("dtype", "torch's name of a dtype, such as 'float32'"),
    "device": _name("device", "the name of a device, such as 'cpu'"),
    "shape": _shape, "state": _state, "attributes": _attributes, "aliases": _truth,
    "vjp": _gradients("vjp"), "vjp_of": _gradients("vjp_of"),
    "value_and_vjp": _outputs_and_gradients,
    "load": _as_it_is, "train": _as_it_is, "sync": _as_it_is, "stopwatch": _as_it_is,
    "copy": _as_it_is, "fallbacks": _as_it_is,
}  # fmt: skip
"""Method of a layer → function that checks and converts its result."""
