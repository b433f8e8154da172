"""Calls torch's product with a triangle of ones."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        last = x.movedim(self.dim, -1)
        triangle = torch.ones(last.shape[-1], last.shape[-1]).triu()
        return torch.matmul(last, triangle).movedim(-1, self.dim)
