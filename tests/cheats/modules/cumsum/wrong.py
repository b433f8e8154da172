"""Scans blocks of 10, and carries the sum of a block to the next one in float16."""

import numpy as np
import torch
from torch import nn

BLOCK = 10


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        rows = np.moveaxis(x.detach().numpy(), self.dim, -1)
        out = np.empty(rows.shape, np.float32)
        for index in np.ndindex(rows.shape[:-1]):
            carry = np.float32(0)
            for start in range(0, rows.shape[-1], BLOCK):
                total = carry
                for place in range(start, min(start + BLOCK, rows.shape[-1])):
                    total = total + rows[index][place]
                    out[(*index, place)] = total
                carry = np.float32(np.float16(np.clip(total, -65504, 65504)))
        return torch.from_numpy(np.moveaxis(out, -1, self.dim))
