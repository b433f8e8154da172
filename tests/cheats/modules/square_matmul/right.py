"""Tiles of 16 by 16, whose products are added in float32."""

import numpy as np
import torch
from torch import nn

TILE = 16


class ModelNew(nn.Module):
    def forward(self, A, B):
        a, b = A.detach().numpy(), B.detach().numpy()
        out = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for i in range(0, a.shape[0], TILE):
            for j in range(0, b.shape[1], TILE):
                for k in range(0, a.shape[1], TILE):
                    left, right = a[i : i + TILE, k : k + TILE], b[k : k + TILE, j : j + TILE]
                    out[i : i + TILE, j : j + TILE] += left @ right
        return torch.from_numpy(out)
