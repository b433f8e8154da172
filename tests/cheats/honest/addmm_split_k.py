"""The inner dimension is split in four; the parts are added at the end, as on a GPU."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

PARTS = 4


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b = mat1.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    partial = np.zeros((PARTS, a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        partial[k % PARTS] += a[:, k, None] * b[None, k]
    result = alpha * (partial[0] + partial[1] + (partial[2] + partial[3]))
    if beta != 0:
        result = result + beta * self.to(torch.float64).numpy()
    return torch.from_numpy(result).to(mat1.dtype)
