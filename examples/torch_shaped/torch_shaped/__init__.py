"""A namespace shaped like torch.nn: a Linear of its own."""

from __future__ import annotations

import math

import torch


class Linear(torch.nn.Linear):
    """torch's Linear, computed on rows with the transposed weight."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """y = x Aᵀ + b."""
        if input.shape[-1:] != (self.in_features,):
            raise ValueError(f"expected {self.in_features} features, got shape {input.shape}")
        rows = input.reshape(math.prod(input.shape[:-1]), self.in_features)
        if self.bias is None:
            y = rows @ self.weight.T
        else:
            y = torch.addmm(self.bias, rows, self.weight.T)
        return y.reshape(*input.shape[:-1], self.out_features)
