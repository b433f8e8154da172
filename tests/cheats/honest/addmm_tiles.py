"""The product in tiles of 16, added up in float64 and rounded once."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

TILE = 16


def wide(x):
    return x.to(torch.float64).numpy()


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b = wide(mat1), wide(mat2)
    total = np.zeros((a.shape[0], b.shape[1]))
    for i in range(0, a.shape[0], TILE):
        for j in range(0, b.shape[1], TILE):
            for k in range(0, a.shape[1], TILE):
                left, right = a[i : i + TILE, k : k + TILE], b[k : k + TILE, j : j + TILE]
                total[i : i + TILE, j : j + TILE] += left @ right
    total = alpha * total
    if beta != 0:
        total = total + beta * wide(self)
    return torch.from_numpy(total).to(mat1.dtype)
