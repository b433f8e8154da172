"""Outer products whose sum is kept in float16 for every four rows."""

import numpy as np
import torch
from torch import nn

ROWS = 4


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = A.detach().numpy(), B.detach().numpy()
        out = np.zeros((a.shape[1], b.shape[1]), np.float32)
        for start in range(0, a.shape[0], ROWS):
            part = np.zeros(out.shape, np.float16)
            for k in range(start, min(start + ROWS, a.shape[0])):
                part += (a[k, :, None] * b[k]).astype(np.float16)
            out += part
        return torch.from_numpy(out)
