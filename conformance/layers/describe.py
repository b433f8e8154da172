"""Text of a case: the call that a person would type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.layers import CATALOGUE
from conformance.layers.describe_network import network_text
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
    spec = CATALOGUE.get(layer)
    if spec is None or value is None:
        return value_text(value)
    if name in spec.signature.torch_objects:
        return f"torch.{value}"
    if name in spec.signature.function_arguments and is_function(value):
        return f"torch.nn.{value}"
    if name in spec.signature.record_arguments:
        fields = (f"{field}={value_text(x)}" for field, x in value)
        return f"torch.nn.{spec.signature.record_arguments[name]}({', '.join(fields)})"
    if name in spec.signature.graph_arguments:
        return network_text(value, made_text)
    if name in spec.signature.module_arguments:
        layer_name, pairs = value
        return f"torch.nn.{made_text(layer_name, dict(pairs))}"
    return value_text(value)


def made_text(layer: str, arguments: Mapping[str, Any]) -> str:
    """What makes a layer, as a person would type it: `Linear(2, 3)`."""
    return call_text(Call(layer, arguments, {}, "", ""))


def input_texts(spec: LayerSpec, texts: Sequence[str]) -> list[str]:
    """Texts of a call's inputs as torch takes them: single, or composed to lists and objects.

    Keyword inputs come last.

    Args:
        texts: one text per input; `"None"` where it is left out.
    """
    pairs = list(zip(spec.signature.inputs, texts, strict=False))
    positional = [
        part
        for name, group in groupby(pairs, key=lambda pair: pair[0].passing.part_of)
        for part in _composite_texts(
            spec, name, [text for x, text in group if not x.passing.by_name]
        )
    ]
    if not any(x.passing.part_of for x, _ in pairs) and {LIST, GRADIENTS} & {
        *spec.signature.bundles.composite_arguments.values()
    }:
        positional.insert(0, "[]")
    text_by_name = {x.name: text for x, text in pairs}
    keywords = [
        (x, text_by_name.get(x.name, "None")) for x in spec.signature.inputs if x.passing.by_name
    ]
    return positional + [
        f"{x.name}={text}" for x, text in keywords if text != "None" or x.passing.explicit_none
    ]


def _composite_texts(spec: LayerSpec, argument: str, texts: list[str]) -> list[str]:
    """The texts themselves, or one text of the composite argument that they are parts of."""
    if not argument:
        return texts
    composite = spec.signature.bundles.composite_arguments[argument]
    inner = ", ".join(x for x in texts if x != "None" or composite != LIST)
    return [f"[{inner}]" if composite in (LIST, GRADIENTS) else f"torch.nn.{composite}({inner})"]


def value_text(value: Any) -> str:
    """A value as a person would type it."""
    nonfinite = isinstance(value, float) and not math.isfinite(value)
    return f"float({str(value)!r})" if nonfinite else repr(value)


def call_text(call: Call, inputs: Sequence[str] = ()) -> str:
    """The call as Python: `Conv2d(2, 2, 1, groups=2)`.

    Args:
        inputs: texts of the tensors that a function takes besides its arguments; a keyword input
            is `name=text`.
    """
    spec = CATALOGUE.get(call.layer)
    required = spec.signature.required if spec else ()
    arguments = dict(call.arguments)
    parts = [x for x in inputs if "=" not in x]
    parts += [value_text(value) for value in arguments.pop("*", ())]
    positional = [name for name in required if name in arguments]
    parts += [argument_text(call.layer, name, arguments.pop(name)) for name in positional]
    parts += [x for x in inputs if "=" in x]
    parts += [f"{k}={argument_text(call.layer, k, v)}" for k, v in arguments.items()]
    if is_function(call.layer):
        return f"{call.layer}({', '.join(parts)})"
    name, method = class_and_method(call.layer)
    return f"{name}({', '.join(parts)}){method and '.' + method}"


def case_text(case: Case) -> str:
    """The call, the shapes of its inputs, dtype and device, in one line."""
    spec = CATALOGUE.get(case.call.layer)
    names = spec.signature.input_names if spec else ()
    descriptions: list[str] = []
    for index, array in enumerate(case.inputs):
        name = names[index] if index < len(names) else f"input {index}"
        if array is not None:
            kind = {"i": " int64", "b": " bool"}.get(array.dtype.kind, "")
            descriptions.append(f"{name} {array.shape}{kind}")
    if spec:
        tensors = spec.state.constructor_state(case.call.state)
        descriptions += [f"{name} {array.shape}" for name, array in tensors.items()]
    descriptions += [f"{name}={value!r}" for name, value in case.keywords.items()]
    inputs: Sequence[str] = ()
    if spec is not None and spec.is_function:
        inputs = names[: len(case.inputs)]
        if spec.signature.bundles.composite_arguments or any(
            x.passing.explicit_none for x in spec.signature.inputs
        ):
            pairs = zip(names, case.inputs, strict=False)
            inputs = input_texts(spec, [n if x is not None else "None" for n, x in pairs])
    text = call_text(case.call, inputs)
    mode = " in train mode" if case.call.training else ""
    return f"{text}{mode} on {', '.join(descriptions)}, {case.call.dtype}, {case.call.device}"


def operands_text(case: Case, limit: int = 8) -> str:
    """Inputs and state of at most `limit` elements with their numbers; empty if there are none."""
    spec = CATALOGUE.get(case.call.layer)
    names = spec.signature.input_names if spec else ()
    operands = {
        names[index] if index < len(names) else f"input {index}": array
        for index, array in enumerate(case.inputs)
    }
    texts = [
        f"{name} = [{', '.join(map(number_text, array.reshape(-1).tolist()))}]"
        for name, array in [*operands.items(), *case.call.state.items()]
        if array is not None and 0 < array.size <= limit
    ]
    return ", ".join(texts)


def array_text(array: np.ndarray, limit: int = 60) -> str:
    """An array's first `limit` elements in one line, with its shape."""
    flat = array.reshape(-1)
    text = ", ".join(number_text(value) for value in flat[:limit].tolist())
    remainder = f", … {flat.size - limit} more" if flat.size > limit else ""
    return f"[{text}{remainder}] of shape {array.shape}"


def number_text(value: Any) -> str:
    """A number without needless digits; integers as integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return "-0.0" if str(value) == "-0.0" else str(int(value))
    return repr(value)
