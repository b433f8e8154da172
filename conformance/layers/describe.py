"""Text of a case: the call that a person would type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.layers import CATALOGUE
from conformance.model.case import (
    GRADIENTS,
    LIST,
    Call,
    Case,
    class_and_method,
    is_function,
)

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec


def argument_text(layer: str, name: str, value: Any) -> str:
    """An argument's value as a person would type it, torch objects and records included."""
    row = CATALOGUE.get(layer)
    if row is None or value is None:
        return typed(value)
    if name in row.signature.of_torch:
        return f"torch.{value}"
    if name in row.signature.functions and is_function(value):
        return f"torch.nn.{value}"
    if name in row.signature.records:
        fields = (f"{field}={typed(x)}" for field, x in value)
        return f"torch.nn.{row.signature.records[name]}({', '.join(fields)})"
    if name in row.signature.modules:
        inner, pairs = value
        return f"torch.nn.{call_text(Call(inner, dict(pairs), {}, '', ''))}"
    return typed(value)


def together(row: LayerSpec, texts: Sequence[str]) -> list[str]:
    """Texts of a call's inputs as torch takes them: single, or composed to lists and objects.

    Keyword inputs come last.

    Args:
        texts: one text per input; `"None"` where it is left out.
    """
    pairs = list(zip(row.signature.inputs, texts, strict=False))
    found = [
        one
        for name, group in groupby(pairs, key=lambda pair: pair[0].passed.part_of)
        for one in _placed(row, name, [text for x, text in group if not x.passed.by_name])
    ]
    if not any(x.passed.part_of for x, _ in pairs) and {LIST, GRADIENTS} & {
        *row.signature.bundles.wholes.values()
    }:
        found.insert(0, "[]")
    given = {x.name: text for x, text in pairs}
    named = [(x, given.get(x.name, "None")) for x in row.signature.inputs if x.passed.by_name]
    return found + [f"{x.name}={text}" for x, text in named if text != "None" or x.passed.said]


def _placed(row: LayerSpec, argument: str, texts: list[str]) -> list[str]:
    """The texts themselves, or one text of the composite argument that they are parts of."""
    if not argument:
        return texts
    kind = row.signature.bundles.wholes[argument]
    inner = ", ".join(x for x in texts if x != "None" or kind != LIST)
    return [f"[{inner}]" if kind in (LIST, GRADIENTS) else f"torch.nn.{kind}({inner})"]


def typed(value: Any) -> str:
    """A value as a person would type it."""
    odd = isinstance(value, float) and not math.isfinite(value)
    return f"float({str(value)!r})" if odd else repr(value)


def call_text(call: Call, inputs: Sequence[str] = ()) -> str:
    """The call as Python: `Conv2d(2, 2, 1, groups=2)`.

    Args:
        inputs: texts of the tensors that a function takes besides its arguments; a keyword input
            is `name=text`.
    """
    row = CATALOGUE.get(call.layer)
    required = row.signature.required if row else ()
    arguments = dict(call.arguments)
    parts = [x for x in inputs if "=" not in x]
    parts += [typed(value) for value in arguments.pop("*", ())]
    given = [name for name in required if name in arguments]
    parts += [argument_text(call.layer, name, arguments.pop(name)) for name in given]
    parts += [x for x in inputs if "=" in x]
    parts += [f"{k}={argument_text(call.layer, k, v)}" for k, v in arguments.items()]
    if is_function(call.layer):
        return f"{call.layer}({', '.join(parts)})"
    name, method = class_and_method(call.layer)
    return f"{name}({', '.join(parts)}){method and '.' + method}"


def case_text(case: Case) -> str:
    """The call, the shapes of its inputs, dtype and device, in one line."""
    row = CATALOGUE.get(case.call.layer)
    names = row.signature.input_names if row else ()
    shown: list[str] = []
    for index, array in enumerate(case.inputs):
        name = names[index] if index < len(names) else f"input {index}"
        if array is not None:
            kind = {"i": " int64", "b": " bool"}.get(array.dtype.kind, "")
            shown.append(f"{name} {array.shape}{kind}")
    if row:
        given = row.state.constructed(case.call.state)
        shown += [f"{name} {array.shape}" for name, array in given.items()]
    shown += [f"{name}={value!r}" for name, value in case.keywords.items()]
    inputs: Sequence[str] = ()
    if row is not None and row.function:
        inputs = names[: len(case.inputs)]
        if row.signature.bundles.wholes or any(x.passed.said for x in row.signature.inputs):
            pairs = zip(names, case.inputs, strict=False)
            inputs = together(row, [n if x is not None else "None" for n, x in pairs])
    text = call_text(case.call, inputs)
    mode = " in train mode" if case.call.training else ""
    return f"{text}{mode} on {', '.join(shown)}, {case.call.dtype}, {case.call.device}"


def array_text(array: np.ndarray, limit: int = 60) -> str:
    """An array's first `limit` elements in one line, with its shape."""
    flat = array.reshape(-1)
    text = ", ".join(number_text(value) for value in flat[:limit].tolist())
    more = f", … {flat.size - limit} more" if flat.size > limit else ""
    return f"[{text}{more}] of shape {array.shape}"


def number_text(value: Any) -> str:
    """A number without needless digits; integers as integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return "-0.0" if str(value) == "-0.0" else str(int(value))
    return repr(value)
