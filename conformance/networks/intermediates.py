"""What the submodules of an implementation return, where the implementation shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from conformance.bounding.operands import leaves_in


@runtime_checkable
class ShowsModules(Protocol):
    """An implementation that knows which of its results a submodule's are."""

    def run_modules(self, inputs: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """Qualified name of a submodule → what each of its calls returns."""


def run_modules(implementation: Any, inputs: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """Call an implementation once more, and keep what its submodules return.

    A module compiled by `torch.compile` is compiled anew, with these results as outputs; so a
    fusion across two submodules may be another one.

    Returns:
        Qualified name → results of each call; empty if the implementation shows none.
    """
    if isinstance(implementation, ShowsModules):
        return implementation.run_modules(inputs)
    compiled = hasattr(implementation, "_orig_mod")
    module = implementation._orig_mod if compiled else implementation
    if not isinstance(module, torch.nn.Module):
        return {}
    results: dict[str, list[Any]] = {}

    def keep(name: str, result: Any) -> None:
        # Copied, because the next submodule may write into it.
        tensors = [x.detach().clone() for x in leaves_in(result) if isinstance(x, torch.Tensor)]
        results.setdefault(name, []).append(tuple(tensors))

    hooks = [
        part.register_forward_hook(lambda module, inputs, result, name=name: keep(name, result))
        for name, part in module.named_modules()
        if name
    ]
    if compiled:
        torch._dynamo.reset()
    try:
        with torch.no_grad():
            implementation(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        if compiled:
            torch._dynamo.reset()
    return results
