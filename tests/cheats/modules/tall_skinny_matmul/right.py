"""The sum of the outer products of columns and rows."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = A.detach().numpy(), B.detach().numpy()
        out = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in range(a.shape[1]):
            out += a[:, k, None] * b[k]
        return torch.from_numpy(out)
