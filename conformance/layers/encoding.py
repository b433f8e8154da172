"""Encode cases as JSON data and decode them, without losing a bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.model.case import Call, Case, Verdict
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

_DTYPES = ("float64", "complex128", "int64", "bool", "float32", "float16", "int32", "int16", "int8")
_MAX_DEPTH = 8
_DECODING_ERRORS = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    *(RecursionError, MemoryError),
)


class CaseError(UsageError, ValueError):
    """Data that cannot be decoded as a case."""


def _encode_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """An array as `{"shape", "dtype", "data"}`; complex data as interleaved (re, im)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    numbers = flat.view(np.float64) if np.iscomplexobj(flat) else flat
    encoded_numbers = [_encode_number(value) for value in numbers.tolist()]
    return {"shape": list(array.shape), "dtype": str(array.dtype), "data": encoded_numbers}


def decode_array(data: Mapping[str, Any]) -> np.ndarray:
    """The array that `encode_array` wrote.

    Raises:
        CaseError: if the data is malformed.
    """
    name, shape, elements = data["dtype"], data["shape"], data["data"]
    if name not in _DTYPES:
        raise CaseError(f"dtype {bounded(repr(name), 80)}: expected one of {', '.join(_DTYPES)}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise CaseError(f"shape {bounded(repr(shape), 80)}: expected a list of sizes")
    dtype = np.dtype(name)
    kind: tuple[type, ...] = {"b": (bool,), "i": (int,)}.get(dtype.kind, (float, int, str))
    if not isinstance(elements, list) or not all(type(v) in kind for v in elements):
        raise CaseError(f"data of dtype {name}: expected a list of numbers of that dtype")
    expected = math.prod(shape) * (2 if dtype.kind == "c" else 1)
    if len(elements) != expected:
        raise CaseError(f"{len(elements)} numbers of shape {shape}: expected {expected}")
    if dtype.kind == "c":
        flat = np.array([float(v) for v in elements], dtype=np.float64).view(dtype)
    elif dtype.kind == "f":
        flat = np.array([float(v) for v in elements], dtype=dtype)
    else:
        flat = np.array(elements, dtype=dtype)
    return np.asarray(flat.reshape(shape))


def _encode_value(value: Any) -> Any:
    """An argument value as JSON.

    A tuple becomes {"tuple": […]}, and is not mistaken for a list. ∞ and NaN become
    {"number": "inf"}, and are not mistaken for a string.
    """
    if isinstance(value, tuple):
        return {"tuple": [_encode_value(v) for v in value]}
    if isinstance(value, list):
        return [_encode_value(v) for v in value]
    nonfinite = isinstance(value, float) and not math.isfinite(value)
    return {"number": str(value)} if nonfinite else value


def _decode_value(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        raise CaseError("values are nested too deep")
    if isinstance(value, Mapping) and "number" in value:
        number = float(value["number"])
        # Always the same NaN object: containers compare equal if they hold the same object.
        return math.nan if math.isnan(number) else number
    if isinstance(value, Mapping):
        return tuple(_decode_value(v, depth + 1) for v in value["tuple"])
    if isinstance(value, list):
        return [_decode_value(v, depth + 1) for v in value]
    return value


def _input_names(layer: str) -> tuple[str, ...]:
    # Imported here: reading a results file shall not load the strategies.
    from conformance.layers import CATALOGUE

    spec = CATALOGUE.get(layer)
    return () if spec is None else spec.signature.input_names


def _cotangent_names(layer: str) -> tuple[str, ...]:
    from conformance.layers import CATALOGUE

    spec = CATALOGUE.get(layer)
    return () if spec is None else spec.signature.cotangent_names


def _encode_inputs(case: Case) -> dict[str, Any]:
    """Inputs by name; the same object as an earlier input is `{"same": name of that input}`."""
    names, encoded = _padded_input_names(case.call.layer, len(case.inputs)), dict[str, Any]()
    for place, (name, x) in enumerate(zip(names, case.inputs, strict=True)):
        first = next((k for k in range(place) if case.inputs[k] is x), place)
        reference = None if x is None else {"same": names[first]}
        encoded[name] = reference if first < place or x is None else encode_array(x)
    return encoded


def _padded_input_names(layer: str, count: int) -> tuple[str, ...]:
    names = _input_names(layer)
    return (*names[:count], *(f"input {k}" for k in range(len(names), count)))


def _decode_inputs(inputs: Any, layer: str) -> tuple[np.ndarray | None, ...]:
    """Inputs in torch's order. Files of schema 1 and 2 hold a list, later ones a mapping."""
    if not isinstance(inputs, Mapping):
        inputs = dict(zip(_padded_input_names(layer, len(inputs)), inputs, strict=True))
    order = [*_input_names(layer), *(name for name in inputs if name not in _input_names(layer))]
    last = max((k for k, name in enumerate(order) if name in inputs), default=-1)
    decoded: dict[str, np.ndarray | None] = {}
    for name in order[: last + 1]:
        x = inputs.get(name)
        if x is None:
            decoded[name] = None
        else:
            reference = x.get("same")
            if isinstance(reference, int):
                reference = order[reference]
            decoded[name] = decode_array(x) if reference is None else decoded[reference]
    return tuple(decoded.values())


def _ordered_layouts(layouts: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Layouts of the inputs, or of the cotangents, in torch's order."""
    last = max((k for k, name in enumerate(names) if name in layouts), default=-1)
    return tuple(layouts.get(name, "contiguous") for name in names[: last + 1])


def encode_case(case: Case) -> dict[str, Any]:
    """Encode a case as JSON data; `decode_case` reads it back."""
    call = case.call
    unbroken = {} if case.unbroken is None else {"unbroken": encode_case(case.unbroken)}
    return {
        "call": {
            "layer": call.layer,
            "arguments": {k: _encode_value(v) for k, v in call.arguments.items()},
            "state": {k: encode_array(v) for k, v in call.state.items()},
            "dtype": call.dtype,
            "device": call.device,
            "training": call.training,
            "layouts": dict(call.layouts),
        },
        "inputs": _encode_inputs(case),
        "keywords": {k: _encode_value(v) for k, v in case.keywords.items()},
        "layouts": {
            **dict(zip(_input_names(call.layer), case.layouts, strict=False)),
            **dict(zip(_cotangent_names(call.layer), case.cotangent_layouts, strict=False)),
        },
        "labels": {k: _encode_value(v) for k, v in case.labels.items()},
        "seed": case.seed,
        **unbroken,
    }


def decode_case(data: Any) -> Case:
    """The case that `encode_case` wrote.

    Raises:
        CaseError: if the data is malformed; the message says where.
    """
    try:
        return _decode_case(data, 0)
    except CaseError:
        raise
    except KeyError as error:
        raise CaseError(f"{bounded(str(error), 80)} is missing") from error
    except _DECODING_ERRORS as error:
        raise CaseError(f"{type(error).__name__}: {bounded(str(error), 200)}") from error


def decode_verdict_case(verdict: Verdict) -> Case | None:
    """The minimal case of a verdict, or of one of its causes; None where it has none.

    Raises:
        CaseError: if the case cannot be read, or belongs to another item than the verdict.
    """
    if verdict.case is None:
        return None
    try:
        case = decode_case(verdict.case)
    except CaseError as error:
        raise CaseError(f"{verdict.id}: its case cannot be read: {bounded(str(error))}") from error
    for field in ("layer", "dtype", "device"):
        actual, expected = getattr(case.call, field), getattr(verdict, field)
        if actual != expected:
            raise CaseError(
                f"{verdict.id}: its case has the {field} {bounded(actual, 200)!r}, "
                f"expected {bounded(expected, 200)!r}, which the verdict has"
            )
    return case


def _decode_case(case_table: Any, depth: int) -> Case:
    if depth > 1:
        raise CaseError("unbroken: expected a valid case, which has no `unbroken` itself")
    case_table = _check_type(case_table, Mapping, "a case")
    call, layouts = _check_type(case_table["call"], Mapping, "call"), case_table["layouts"]
    layer = _check_type(call["layer"], str, "layer")
    if not isinstance(layouts, Mapping):  # a list, one per input, in files of schema 1 and 2
        layouts = dict(zip(_input_names(layer), layouts, strict=False))
    for mapping in (layouts, call["layouts"]):
        for name, layout in _check_type(mapping, Mapping, "layouts").items():
            _check_type(layout, str, f"layout of {name}")
    return Case(
        call=Call(
            layer=layer,
            arguments={k: _decode_value(v) for k, v in call["arguments"].items()},
            state={k: decode_array(v) for k, v in call["state"].items()},
            dtype=_check_type(call["dtype"], str, "dtype"),
            device=_check_type(call["device"], str, "device"),
            training=_check_type(call["training"], bool, "training"),
            layouts=call["layouts"],
        ),
        inputs=_decode_inputs(case_table["inputs"], layer),
        keywords={k: _decode_value(v) for k, v in case_table["keywords"].items()},
        layouts=_ordered_layouts(layouts, _input_names(layer)),
        cotangent_layouts=_ordered_layouts(layouts, _cotangent_names(layer)),
        labels={k: _decode_value(v) for k, v in case_table["labels"].items()},
        seed=_check_seed(case_table["seed"]),
        unbroken=_decode_case(case_table["unbroken"], depth + 1)
        if "unbroken" in case_table
        else None,
    )


def _check_type(value: Any, kind: Any, description: str) -> Any:
    if not isinstance(value, kind):
        raise CaseError(
            f"{description} is {bounded(repr(value), 80)}, expected {kind.__name__.lower()}"
        )
    return value


def _check_seed(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise CaseError(f"seed is {bounded(repr(value), 80)}, expected a whole number")
    return value
