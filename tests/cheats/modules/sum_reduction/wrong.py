"""Adds blocks of 16 in float16, and the sums of blocks in float32."""

import numpy as np
import torch
from torch import nn

BLOCK = 16


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        terms = np.moveaxis(x.detach().numpy(), self.dim, 0)
        total = np.zeros(terms.shape[1:], np.float32)
        for start in range(0, len(terms), BLOCK):
            part = np.zeros(terms.shape[1:], np.float16)
            for term in terms[start : start + BLOCK]:
                part += term.astype(np.float16)
            total += part
        return torch.from_numpy(np.expand_dims(total, self.dim))
