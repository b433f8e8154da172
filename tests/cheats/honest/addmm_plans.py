"""How a shape is cut into tiles is planned once and remembered; the numbers are not."""

import functools

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@functools.lru_cache(maxsize=64)
def plan(m, k, n, tile=8):
    def cuts(size):
        return [slice(i, min(i + tile, size)) for i in range(0, size, tile)]

    return [(i, j, p) for i in cuts(m) for j in cuts(n) for p in cuts(k)]


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b = mat1.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = np.zeros((a.shape[0], b.shape[1]))
    for i, j, p in plan(*a.shape, b.shape[1]):
        total[i, j] += a[i, p] @ b[p, j]
    total *= alpha
    if beta != 0:
        total += beta * self.to(torch.float64).numpy()
    return torch.from_numpy(total).to(mat1.dtype)
