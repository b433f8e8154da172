"""Online softmax: one pass over blocks of a row, with a running maximum and a running sum."""

import numpy as np
import torch
from torch import nn

BLOCK = 32


class ModelNew(nn.Module):
    def forward(self, x):
        rows = x.detach().numpy()
        out = np.empty(rows.shape, np.float32)
        for row, result in zip(rows.astype(np.float64), out, strict=True):
            top, total = -np.inf, 0.0
            for start in range(0, row.size, BLOCK):
                block = row[start : start + BLOCK]
                new = max(top, block.max())
                total = total * np.exp(top - new) + np.exp(block - new).sum()
                top = new
            result[:] = np.exp(row - top) / total
        return torch.from_numpy(out)
