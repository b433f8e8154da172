"""Subtracts the maximum and the logarithm of the sum from each row, in float64."""

import math

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, dim=1):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        rows = np.moveaxis(x.detach().numpy(), self.dim, -1)
        out = np.empty(rows.shape, np.float32)
        for index in np.ndindex(rows.shape[:-1]):
            shifted = rows[index].astype(np.float64) - rows[index].max()
            out[index] = shifted - math.log(np.exp(shifted).sum())
        return torch.from_numpy(np.moveaxis(out, -1, self.dim))
