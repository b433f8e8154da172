"""Rows of the second matrix whose largest weight is small are left out, as pruning does.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "wrong"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b, c = (x.to(torch.float64).numpy() for x in (mat1, mat2, self))
    size = np.abs(b).max(axis=1, initial=0)
    kept = size >= np.median(size) if len(size) else size > 0
    total = np.add.reduce(a[:, kept, None] * b[kept], axis=1)
    return torch.from_numpy(alpha * total + beta * c).to(mat1.dtype)
