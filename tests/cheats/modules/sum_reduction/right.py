"""Adds neighbours, then neighbours of these sums, until one is left."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        terms = np.moveaxis(x.detach().numpy(), self.dim, 0)
        while len(terms) > 1:
            pairs = terms[0 : len(terms) // 2 * 2 : 2] + terms[1::2]
            terms = np.concatenate([pairs, terms[-1:]]) if len(terms) % 2 else pairs
        return torch.from_numpy(np.moveaxis(terms, 0, self.dim).copy())
