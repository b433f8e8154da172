"""Products of blocks of the inner dimension, added in float64."""

import numpy as np
import torch
from torch import nn

BLOCK = 128


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = A.detach().numpy(), B.detach().numpy()[:, 0]
        total = np.zeros(a.shape[0])
        for start in range(0, a.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            total += (a[:, block].astype(np.float64) * b[block]).sum(axis=1)
        return torch.from_numpy(total.astype(np.float32)[:, None])
