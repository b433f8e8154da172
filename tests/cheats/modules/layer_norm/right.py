"""Normalizes each row with a mean and a variance by Welford's recurrence, block by block."""

import numpy as np
import torch
from torch import nn

BLOCK = 20


class ModelNew(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.ln = nn.LayerNorm(normalized_shape=shape)

    def forward(self, x):
        rows = x.detach().numpy().reshape(-1, self.ln.weight.numel()).astype(np.float64)
        weight, bias = (p.detach().numpy().reshape(-1) for p in (self.ln.weight, self.ln.bias))
        out = np.empty(rows.shape, np.float32)
        for row, result in zip(rows, out, strict=True):
            count, mean, squares = 0, 0.0, 0.0
            for start in range(0, row.size, BLOCK):
                block = row[start : start + BLOCK]
                here = block.sum() / block.size
                shift, total = here - mean, count + block.size
                squares += ((block - here) ** 2).sum() + shift**2 * count * block.size / total
                mean += shift * block.size / total
                count = total
            result[:] = (row - mean) / np.sqrt(squares / count + self.ln.eps) * weight + bias
        return torch.from_numpy(out.reshape(x.shape))
