"""A case in words: the call a person would type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, class_and_method, is_function


def argument_text(layer: str, name: str, value: Any) -> str:
    """An argument's value as a person would type it: what torch has, an object of fields.

    Args:
        layer: its name.
        name: of the argument.
        value: of the argument.
    """
    row = CATALOGUE.get(layer)
    if row is None or value is None:
        return typed(value)
    if name in row.of_torch:
        return f"torch.{value}"
    if name in row.functions and is_function(value):
        return f"torch.nn.{value}"
    if name in row.records:
        fields = (f"{field}={typed(x)}" for field, x in value)
        return f"torch.nn.{row.records[name]}({', '.join(fields)})"
    if name in row.modules:
        inner, pairs = value
        return f"torch.nn.{call_text(Call(inner, dict(pairs), {}, '', ''))}"
    return typed(value)


def typed(value: Any) -> str:
    """A value as a person would type it."""
    odd = isinstance(value, float) and not math.isfinite(value)
    return f"float({str(value)!r})" if odd else repr(value)


def call_text(call: Call, inputs: tuple[str, ...] = ()) -> str:
    """The call as Python: `Conv2d(2, 2, 1, groups=2)`.

    Args:
        call: the call.
        inputs: names of the tensors that a function takes besides its arguments.
    """
    row = CATALOGUE.get(call.layer)
    required = row.required if row else ()
    arguments = dict(call.arguments)
    parts = [*inputs]
    parts += [typed(value) for value in arguments.pop("*", ())]
    given = [name for name in required if name in arguments]
    parts += [argument_text(call.layer, name, arguments.pop(name)) for name in given]
    parts += [f"{k}={argument_text(call.layer, k, v)}" for k, v in arguments.items()]
    if is_function(call.layer):
        return f"{call.layer}({', '.join(parts)})"
    name, method = class_and_method(call.layer)
    return f"{name}({', '.join(parts)}){method and '.' + method}"


def case_text(case: Case) -> str:
    """The call, the shapes of its inputs, dtype and device, in one line."""
    row = CATALOGUE.get(case.call.layer)
    names = row.input_names if row else ()
    shown: list[str] = []
    for index, array in enumerate(case.inputs):
        name = names[index] if index < len(names) else f"input {index}"
        if array is not None:
            kind = {"i": " int64", "b": " bool"}.get(array.dtype.kind, "")
            shown.append(f"{name} {array.shape}{kind}")
    if row:
        given = row.constructed(case.call.state)
        shown += [f"{name} {array.shape}" for name, array in given.items()]
    shown += [f"{name}={value!r}" for name, value in case.keywords.items()]
    function = row is not None and row.function
    text = call_text(case.call, names[: len(case.inputs)] if function else ())
    mode = " in train mode" if case.call.training else ""
    return f"{text}{mode} on {', '.join(shown)}, {case.call.dtype}, {case.call.device}"


def array_text(array: np.ndarray, limit: int = 60) -> str:
    """An array's elements in one line, cut after `limit` of them."""
    flat = array.reshape(-1)
    text = ", ".join(number_text(value) for value in flat[:limit].tolist())
    more = f", … {flat.size - limit} more" if flat.size > limit else ""
    return f"[{text}{more}] of shape {array.shape}"


def number_text(value: Any) -> str:
    """A number without needless digits; integers as integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return "-0.0" if str(value) == "-0.0" else str(int(value))
    return repr(value)
