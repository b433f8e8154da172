"""A workspace that only grows is used again by each call; results are copied out of it."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

WORKSPACE = {"floats": np.empty(0)}


def space(rows, columns):
    if WORKSPACE["floats"].size < rows * columns:
        WORKSPACE["floats"] = np.empty(2 * rows * columns)
    return WORKSPACE["floats"][: rows * columns].reshape(rows, columns)


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b = mat1.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = space(a.shape[0], b.shape[1])
    total[...] = 0
    for k in range(a.shape[1]):
        total += a[:, k, None] * b[k]
    total *= alpha
    if beta != 0:
        total += beta * self.to(torch.float64).numpy()
    return torch.from_numpy(total.copy()).to(mat1.dtype)
