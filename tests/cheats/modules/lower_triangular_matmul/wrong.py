"""One sum for each element on or below the diagonal, stored in float16."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = A.detach().numpy(), B.detach().numpy()
        out = np.zeros((a.shape[0], b.shape[1]), np.float16)
        for i in range(out.shape[0]):
            for j in range(min(i + 1, out.shape[1])):
                out[i, j] = np.clip((a[i] * b[:, j]).sum(), -65504, 65504)
        return torch.from_numpy(out.astype(np.float32))
