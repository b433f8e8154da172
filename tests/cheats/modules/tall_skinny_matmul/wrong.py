"""The sum of outer products of operands that are rounded to bfloat16."""

import numpy as np
import torch
from torch import nn


def to_bfloat16(x):
    bits = np.ascontiguousarray(x).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)).view(np.float32)


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = to_bfloat16(A.detach().numpy()), to_bfloat16(B.detach().numpy())
        out = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for k in range(a.shape[1]):
            out += a[:, k, None] * b[k]
        return torch.from_numpy(out)
