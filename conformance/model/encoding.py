"""Cases as JSON data and back, every bit kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.model.case import Call, Case


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def encode_array(array: np.ndarray) -> dict[str, Any]:
    """An array as `{"shape", "dtype", "data"}`; complex data as interleaved (re, im)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    numbers = flat.view(np.float64) if np.iscomplexobj(flat) else flat
    data = [_number(value) for value in numbers.tolist()]
    return {"shape": list(array.shape), "dtype": str(array.dtype), "data": data}


def decode_array(data: Mapping[str, Any]) -> np.ndarray:
    """The array that `encode_array` wrote."""
    dtype = np.dtype(data["dtype"])
    if dtype.kind == "c":
        flat = np.array([float(v) for v in data["data"]], dtype=np.float64).view(dtype)
    elif dtype.kind == "f":
        flat = np.array([float(v) for v in data["data"]], dtype=dtype)
    else:
        flat = np.array(data["data"], dtype=dtype)
    return np.asarray(flat.reshape(data["shape"]))


def _plain(value: Any) -> Any:
    """Argument values as JSON: tuples become {"tuple": […]}, so that a list stays a list.

    Likewise ∞ and NaN become {"number": "inf"}: a text stays a text.
    """
    if isinstance(value, tuple):
        return {"tuple": [_plain(v) for v in value]}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    odd = isinstance(value, float) and not math.isfinite(value)
    return {"number": str(value)} if odd else value


def _rich(value: Any) -> Any:
    if isinstance(value, Mapping) and "number" in value:
        return float(value["number"])
    if isinstance(value, Mapping):
        return tuple(_rich(v) for v in value["tuple"])
    if isinstance(value, list):
        return [_rich(v) for v in value]
    return value


def _names(layer: str) -> tuple[str, ...]:
    # Loaded here: reading a results file loads no strategies.
    from conformance.layers import CATALOGUE

    row = CATALOGUE.get(layer)
    return () if row is None else row.input_names


def _cotangents(layer: str) -> tuple[str, ...]:
    from conformance.layers import CATALOGUE

    row = CATALOGUE.get(layer)
    return () if row is None else row.cotangent_names


def _encoded(case: Case) -> dict[str, Any]:
    """Inputs by name; one that is the very object of an earlier one is `{"same": its name}`."""
    names, found = _named(case.call.layer, len(case.inputs)), dict[str, Any]()
    for place, (name, x) in enumerate(zip(names, case.inputs, strict=True)):
        first = next((k for k in range(place) if case.inputs[k] is x), place)
        again = None if x is None else {"same": names[first]}
        found[name] = again if first < place or x is None else encode_array(x)
    return found


def _named(layer: str, count: int) -> tuple[str, ...]:
    names = _names(layer)
    return (*names[:count], *(f"input {k}" for k in range(len(names), count)))


def _decoded(inputs: Any, layer: str) -> tuple[np.ndarray | None, ...]:
    """Inputs in torch's order; files of schema 1 and 2 hold them so, later ones by name."""
    if not isinstance(inputs, Mapping):
        inputs = dict(zip(_named(layer, len(inputs)), inputs, strict=True))
    order = [*_names(layer), *(name for name in inputs if name not in _names(layer))]
    last = max((k for k, name in enumerate(order) if name in inputs), default=-1)
    found: dict[str, np.ndarray | None] = {}
    for name in order[: last + 1]:
        x = inputs.get(name)
        if x is None:
            found[name] = None
        else:
            same = x.get("same")
            if isinstance(same, int):
                same = order[same]
            found[name] = decode_array(x) if same is None else found[same]
    return tuple(found.values())


def _layouts(layouts: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Layouts of the inputs, or of the cotangents, in torch's order."""
    last = max((k for k, name in enumerate(names) if name in layouts), default=-1)
    return tuple(layouts.get(name, "contiguous") for name in names[: last + 1])


def encode_case(case: Case) -> dict[str, Any]:
    """A case as JSON data."""
    call = case.call
    unbroken = {} if case.unbroken is None else {"unbroken": encode_case(case.unbroken)}
    return {
        "call": {
            "layer": call.layer,
            "arguments": {k: _plain(v) for k, v in call.arguments.items()},
            "state": {k: encode_array(v) for k, v in call.state.items()},
            "dtype": call.dtype,
            "device": call.device,
            "training": call.training,
            "layouts": dict(call.layouts),
        },
        "inputs": _encoded(case),
        "keywords": {k: _plain(v) for k, v in case.keywords.items()},
        "layouts": {
            **dict(zip(_names(call.layer), case.layouts, strict=False)),
            **dict(zip(_cotangents(call.layer), case.cotangent_layouts, strict=False)),
        },
        "labels": {k: _plain(v) for k, v in case.labels.items()},
        "seed": case.seed,
        **unbroken,
    }


def decode_case(data: Mapping[str, Any]) -> Case:
    """The case that `encode_case` wrote."""
    call, layouts = data["call"], data["layouts"]
    if not isinstance(layouts, Mapping):  # those of the inputs, in files of schema 1 and 2
        layouts = dict(zip(_names(call["layer"]), layouts, strict=False))
    return Case(
        call=Call(
            layer=call["layer"],
            arguments={k: _rich(v) for k, v in call["arguments"].items()},
            state={k: decode_array(v) for k, v in call["state"].items()},
            dtype=call["dtype"],
            device=call["device"],
            training=call["training"],
            layouts=call["layouts"],
        ),
        inputs=_decoded(data["inputs"], call["layer"]),
        keywords={k: _rich(v) for k, v in data["keywords"].items()},
        layouts=_layouts(layouts, _names(call["layer"])),
        cotangent_layouts=_layouts(layouts, _cotangents(call["layer"])),
        labels={k: _rich(v) for k, v in data["labels"].items()},
        seed=data["seed"],
        unbroken=decode_case(data["unbroken"]) if "unbroken" in data else None,
    )
