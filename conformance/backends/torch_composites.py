"""Arguments of torch that are several inputs in the suite: lists, gradients and records."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch

from conformance.model.case import GRADIENTS, LIST, Unsupported

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec
    from conformance.spec.signature import Input


def combine_parts(spec: LayerSpec, inputs: tuple[Any, ...]) -> list[tuple[Input, Any]]:
    """Pair each input with its tensor, and combine the parts of one argument into one pair.

    Args:
        inputs: tensors in the order of the layer's signature, None where one is left out.
    """
    pairs = [
        (x, _move_to_host(x, native))
        for x, native in zip(spec.signature.inputs, inputs, strict=False)
    ]
    combined: list[tuple[Input, Any]] = []
    for name, group in groupby(pairs, key=lambda pair: pair[0].passing.part_of):
        parts = list(group)
        if not name:
            combined += parts
            continue
        combined_input = replace(parts[0][0], name=name)
        combined.append(
            (
                combined_input,
                _combine(
                    spec.signature.bundles.composite_arguments[name],
                    [native for _, native in parts],
                ),
            )
        )
    if not any(x.passing.part_of for x, _ in pairs) and {LIST, GRADIENTS} & {
        *spec.signature.bundles.composite_arguments.values()
    }:
        combined.insert(0, (spec.signature.inputs[0], []))  # torch still expects an empty list
    return combined


def _move_to_host(x: Input, native: Any) -> Any:
    if not x.passing.on_host or native is None:
        return native
    if native.is_meta:
        raise Unsupported(f"{x.name} on device 'meta'")
    return native.cpu()


def _combine(kind: str, parts: list[Any]) -> Any:
    if kind == LIST:
        return [x for x in parts if x is not None]
    if kind == GRADIENTS:
        return [_make_parameter(x) for x in parts]
    return reduce(getattr, kind.split("."), torch.nn)(*parts)  # type: ignore[operator]


def _make_parameter(gradient: torch.Tensor | None) -> torch.nn.Parameter:
    """A parameter of zeros that has this gradient, or no gradient for None."""
    if gradient is None:
        return torch.nn.Parameter(torch.zeros(()))
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient
    return parameter


def positional_arguments(spec: LayerSpec, positional: tuple[Any, ...]) -> tuple[Any, ...]:
    """Positional arguments of a call; an odd number of parameters becomes a generator.

    `Module.parameters()` is also a generator, which can be iterated only once. An even number of
    parameters stays a list, so that cases cover both.
    """
    if (
        GRADIENTS not in spec.signature.bundles.composite_arguments.values()
        or len(positional[0]) % 2 == 0
    ):
        return positional
    return ((x for x in positional[0]), *positional[1:])


def read_outputs(spec: LayerSpec, positional: tuple[Any, ...], result: Any) -> Any:
    """The outputs of a call: its result, then the gradients of the parameters after the call.

    Args:
        positional: the positional arguments of the call.
        result: what the call returned.
    """
    if GRADIENTS not in spec.signature.bundles.composite_arguments.values():
        return result
    first = () if result is None else (result,)
    return (*first, *(x.grad for x in positional[0]))
