"""The `CompositeBug` record, and the numbers and layers that the bugs are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CompositeBug:
    """A right network, a wrong one that differs from it by one mistake, and inputs for both."""

    name: str
    right: Callable[..., Tensor]
    wrong: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]


class Draw:
    """Numbers and layers from a generator of its own."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
        """Normal numbers."""
        return torch.randn(*shape, generator=self._generator) * scale + shift

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Uniform numbers."""
        return torch.rand(*shape, generator=self._generator) * (high - low) + low

    def integers(self, end: int, *shape: int) -> Tensor:
        """Integers from 0 to below `end`."""
        return torch.randint(0, end, shape, generator=self._generator)

    def layer(self, kind: Callable[..., nn.Module], *sizes: int, **options: Any) -> Any:
        """A layer in evaluation mode with drawn parameters."""
        with torch.random.fork_rng(devices=[]):
            module = kind(*sizes, **options)
        for name, value in module.state_dict().items():
            if name == "num_batches_tracked":
                value.zero_()
            elif name == "running_var" or (name == "weight" and value.dim() == 1):
                value.copy_(self.uniform(*value.shape, low=0.4, high=1.4))
            elif value.dim() == 1:
                value.copy_(self.normal(*value.shape, scale=0.3))
            else:
                value.copy_(self.normal(*value.shape, scale=value[0].numel() ** -0.5))
        return module.requires_grad_(False).eval()
