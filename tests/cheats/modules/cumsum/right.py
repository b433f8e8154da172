"""Scans by doubling: adds what is 1, 2, 4 … places before."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        sums = np.moveaxis(x.detach().numpy(), self.dim, -1).astype(np.float64)
        step = 1
        while step < sums.shape[-1]:
            new = sums.copy()
            new[..., step:] += sums[..., :-step]
            sums, step = new, 2 * step
        return torch.from_numpy(np.moveaxis(sums, -1, self.dim).astype(np.float32))
