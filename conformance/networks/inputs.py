"""Inputs of a module in other regimes, batch sizes and layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten


def _outliers(x: Any, generator: torch.Generator) -> Any:
    order = torch.randperm(x.numel(), generator=generator).reshape(x.shape)
    return torch.where(order < max(x.numel() // 64, 1), 1000 * x, x)


def _random_signs(x: Any, generator: torch.Generator) -> Any:
    return x * (2 * torch.randint(0, 2, x.shape, generator=generator) - 1)


REGIMES: dict[str, Callable[[Any, torch.Generator], Any]] = {
    "as given": lambda x, generator: x,
    "whole numbers": lambda x, generator: (3 * x).round(),
    "random signs": _random_signs,
    "outliers": _outliers,
    "offset": lambda x, generator: x + 1024,
    "small": lambda x, generator: x / 1024,
    "zeros": lambda x, generator: torch.zeros_like(x),
}
"""How floating-point inputs are changed; whole numbers come first when a failure is shrunk."""
OPTIONAL_REGIMES = frozenset(("offset",))
"""Regimes that are left out where the module's bounds are infinite, as a softmax's far from 0."""
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "offset": lambda x: torch.cat([x[:1], x])[1:],
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
}
"""Layouts of inputs with two axes or more; all others are contiguous."""
LARGER_BATCH = -1
"""A batch of more than twice, and at most three times, the given size."""
MAX_LARGER_ELEMENTS = 1 << 24
"""Elements of an input in such a batch, at most."""


def change_inputs(
    inputs: Sequence[Any], seed: int, regime: str, batch: int | None, layout: str
) -> list[Any] | None:
    """Inputs of another kind; None if they have no batch axis to change.

    Args:
        batch: the new size of the first axis of each tensor; None = as it is.
    """
    generator = torch.manual_seed(seed)
    change, arrange = REGIMES[regime], LAYOUTS[layout]
    leaves, form = tree_flatten(list(inputs))
    leaves = [x.detach() if torch.is_tensor(x) else x for x in leaves]
    leaves = [
        change(x, generator) if torch.is_tensor(x) and x.is_floating_point() else x for x in leaves
    ]
    tensors = [x for x in leaves if torch.is_tensor(x)]
    if batch is not None:
        sizes = {x.shape[0] if x.ndim else 0 for x in tensors}
        smallest = min(sizes, default=0)
        is_larger = batch == LARGER_BATCH
        if is_larger:
            batch = 2 * smallest + Random(seed).randint(1, max(smallest, 1))
        if len(sizes) != 1 or 0 in sizes or sizes == {batch}:
            return None
        size = batch // smallest * max(x.numel() for x in tensors)
        if is_larger and size > MAX_LARGER_ELEMENTS:
            return None
        places = torch.arange(batch) % smallest
        leaves = [x[places] if torch.is_tensor(x) else x for x in leaves]
    leaves = [arrange(x) if torch.is_tensor(x) and x.ndim > 1 else x for x in leaves]
    changed: list[Any] = tree_unflatten(leaves, form)
    return changed
