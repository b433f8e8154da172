"""What torch takes as one argument, and the suite as several inputs: lists, gradients, records."""

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
    """The inputs with the parts of one argument as that.

    Args:
        inputs: tensors in the row's order, None where one is left out.
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
        found.insert(0, (row.signature.inputs[0], []))  # a list of nothing is a list
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
    """A parameter that has the gradient, or none; its own numbers are no matter."""
    if gradient is None:
        return torch.nn.Parameter(torch.zeros(()))
    found = torch.nn.Parameter(torch.zeros_like(gradient))
    found.grad = gradient
    return found


def handed(row: LayerSpec, placed: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a call is given by place: an odd number of parameters as `Module.parameters()` is.

    That is a generator, which can be gone through once.

    Args:
        placed: lists of parameters among it.
    """
    if GRADIENTS not in row.signature.bundles.wholes.values() or len(placed[0]) % 2 == 0:
        return placed
    return ((x for x in placed[0]), *placed[1:])


def read(row: LayerSpec, placed: tuple[Any, ...], result: Any) -> Any:
    """The outputs of a call: behind what it returns the gradients as it leaves them.

    Args:
        placed: what was given by place.
        result: what was returned.
    """
    if GRADIENTS not in row.signature.bundles.wholes.values():
        return result
    first = () if result is None else (result,)
    return (*first, *(x.grad for x in placed[0]))
