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


def _exchange(x: Any, first: int, second: int) -> Any:
    return x.transpose(first, second).contiguous().transpose(first, second)


def _place(x: Any, size: Sequence[int], place: Any) -> Any:
    """A tensor within larger memory, whose other elements are NaN, or 77."""
    memory = x.new_full(size, float("nan") if x.is_floating_point() else 77)
    memory[place] = x.flatten() if len(size) == 1 else x
    return memory[place].view(x.shape)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: _exchange(x, -1, -2),
    "heads last": lambda x: _exchange(x, 1, 2) if x.ndim > 2 else _exchange(x, 0, 1),
    "offset": lambda x: _place(x, [x.numel() + 1], slice(1, None)),
    "part of rows": lambda x: _place(x, (*x.shape[:-1], x.shape[-1] + 3), (..., slice(2, -1))),
    "strided": lambda x: _place(x, (*x.shape[:-1], 2 * x.shape[-1]), (..., slice(0, None, 2))),
}
"""Layouts of inputs with two axes or more; all others are contiguous."""
LARGER_BATCH = -1
"""A batch of more than twice, and at most three times, the given size."""
MAX_LARGER_ELEMENTS = 1 << 24
"""Elements of an input in such a batch, at most."""


def change_inputs(
    inputs: Sequence[Any],
    seed: int,
    regime: str,
    batch: int | None,
    layout: str,
    *,
    first_only: bool = False,
) -> list[Any] | None:
    """Inputs of another kind; None if they have no batch axis to change.

    Args:
        batch: the new size of the first axis of the first tensor, and of others that have the same
            size; None = as it is.
        layout: of the first tensor; others have any, unless it is contiguous.
        first_only: only the first tensor has a batch axis.
    """
    generator, draw = torch.manual_seed(seed), Random(seed)
    change, plain = REGIMES[regime], next(iter(LAYOUTS))
    leaves, form = tree_flatten(list(inputs))
    leaves = [x.detach() if torch.is_tensor(x) else x for x in leaves]
    leaves = [
        change(x, generator) if torch.is_tensor(x) and x.is_floating_point() else x for x in leaves
    ]
    tensors = [x for x in leaves if torch.is_tensor(x)]
    if batch is not None:
        old_batch = tensors[0].shape[0] if tensors and tensors[0].ndim else 0
        is_larger = batch == LARGER_BATCH
        if is_larger:
            batch = 2 * old_batch + draw.randint(1, max(old_batch, 1))
        if old_batch in (0, batch):
            return None
        size = batch // old_batch * max(x.numel() for x in tensors)
        if is_larger and size > MAX_LARGER_ELEMENTS:
            return None
        # In another order, so that no row is where a function that repeats rows puts it.
        orders = [
            torch.randperm(old_batch, generator=generator) for _ in range(-(-batch // old_batch))
        ]
        rows = torch.cat(orders)[:batch]
        batched = [x for x in tensors if x.shape[:1] == (old_batch,)][: 1 if first_only else None]
        is_batched = {id(x) for x in batched}
        leaves = [x[rows] if id(x) in is_batched else x for x in leaves]
    other_layouts = [plain] if layout == plain else list(LAYOUTS)
    for k, x in enumerate(leaves):
        if torch.is_tensor(x) and x.ndim > 1:
            leaves[k] = LAYOUTS[layout](x)
            layout = draw.choice(other_layouts)
    changed: list[Any] = tree_unflatten(leaves, form)
    return changed
