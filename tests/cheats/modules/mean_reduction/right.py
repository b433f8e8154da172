"""Adds blocks of 64 in float64, and divides their sum."""

import numpy as np
import torch
from torch import nn

BLOCK = 64


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        terms = np.moveaxis(x.detach().numpy(), self.dim, 0)
        total = np.zeros(terms.shape[1:])
        for start in range(0, len(terms), BLOCK):
            total += terms[start : start + BLOCK].sum(axis=0, dtype=np.float64)
        return torch.from_numpy((total / len(terms)).astype(np.float32))
