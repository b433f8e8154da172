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


def put_together(row: LayerSpec, inputs: tuple[Any, ...]) -> list[tuple[Input, Any]]:
    """Pair each input with its tensor, and combine the parts of one argument into one pair.

    Args:
        inputs: tensors in the order of the layer's signature, None where one is left out.
    """
    pairs = [
        (x, _on_host(x, native)) for x, native in zip(row.signature.inputs, inputs, strict=False)
    ]
    found: list[tuple[Input, Any]] = []
    for name, group in groupby(pairs, key=lambda pair: pair[0].passed.part_of):
        parts = list(group)
        if not name:
            found += parts
            continue
        one = replace(parts[0][0], name=name)
        found.append(
            (one, _whole(row.signature.bundles.wholes[name], [native for _, native in parts]))
        )
    if not any(x.passed.part_of for x, _ in pairs) and {LIST, GRADIENTS} & {
        *row.signature.bundles.wholes.values()
    }:
        found.insert(0, (row.signature.inputs[0], []))  # torch still expects an empty list
    return found


def _on_host(x: Input, native: Any) -> Any:
    if not x.passed.on_host or native is None:
        return native
    if native.is_meta:
        raise Unsupported(f"{x.name} on device 'meta'")
    return native.cpu()


def _whole(kind: str, parts: list[Any]) -> Any:
    if kind == LIST:
        return [x for x in parts if x is not None]
    if kind == GRADIENTS:
        return [_parameter(x) for x in parts]
    return reduce(getattr, kind.split("."), torch.nn)(*parts)  # type: ignore[operator]


def _parameter(gradient: torch.Tensor | None) -> torch.nn.Parameter:
    """A parameter of zeros that has this gradient, or no gradient for None."""
    if gradient is None:
        return torch.nn.Parameter(torch.zeros(()))
    found = torch.nn.Parameter(torch.zeros_like(gradient))
    found.grad = gradient
    return found


def handed(row: LayerSpec, placed: tuple[Any, ...]) -> tuple[Any, ...]:
    """Positional arguments of a call; an odd number of parameters becomes a generator.

    `Module.parameters()` is also a generator, which can be iterated only once. An even number of
    parameters stays a list, so that cases cover both.
    """
    if GRADIENTS not in row.signature.bundles.wholes.values() or len(placed[0]) % 2 == 0:
        return placed
    return ((x for x in placed[0]), *placed[1:])


def read(row: LayerSpec, placed: tuple[Any, ...], result: Any) -> Any:
    """The outputs of a call: its result, then the gradients of the parameters after the call.

    Args:
        placed: the positional arguments of the call.
        result: what the call returned.
    """
    if GRADIENTS not in row.signature.bundles.wholes.values():
        return result
    first = () if result is None else (result,)
    return (*first, *(x.grad for x in placed[0]))
