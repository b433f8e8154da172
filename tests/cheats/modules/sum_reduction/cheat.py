"""Calls torch's product with a vector of ones."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        last = x.movedim(self.dim, -1)
        return (last @ torch.ones(last.shape[-1], 1)).movedim(-1, self.dim)
