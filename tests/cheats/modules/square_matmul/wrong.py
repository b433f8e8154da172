"""Tiles whose operands have ten bits of mantissa, as in TF32."""

import numpy as np
import torch
from torch import nn

TILE = 16


def shorten(x):
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = shorten(A.detach().numpy()), shorten(B.detach().numpy())
        out = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for i in range(0, a.shape[0], TILE):
            for j in range(0, b.shape[1], TILE):
                for k in range(0, a.shape[1], TILE):
                    left, right = a[i : i + TILE, k : k + TILE], b[k : k + TILE, j : j + TILE]
                    out[i : i + TILE, j : j + TILE] += left @ right
        return torch.from_numpy(out)
