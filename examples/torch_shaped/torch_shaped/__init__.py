"""A namespace shaped like torch.nn: a Linear of its own."""

from __future__ import annotations

import torch


class Linear(torch.nn.Linear):
    """torch's Linear, computed as a product with the transposed weight."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """y = x Aᵀ + b."""
        y = input @ self.weight.T
        return y if self.bias is None else y + self.bias
