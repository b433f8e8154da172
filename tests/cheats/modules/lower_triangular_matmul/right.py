"""One sum for each element on or below the diagonal."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = A.detach().numpy().astype(np.float64), B.detach().numpy().astype(np.float64)
        out = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for i in range(out.shape[0]):
            for j in range(min(i + 1, out.shape[1])):
                out[i, j] = (a[i] * b[:, j]).sum()
        return torch.from_numpy(out)
