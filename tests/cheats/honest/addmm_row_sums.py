"""Each row is multiplied elementwise and summed by np.add.reduce, which adds in pairs."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a = mat1.to(torch.float64).numpy()
    columns = np.ascontiguousarray(mat2.to(torch.float64).numpy().T)
    result = np.empty((a.shape[0], columns.shape[0]))
    for i, row in enumerate(a):
        result[i] = np.add.reduce(row * columns, axis=1)
    result *= alpha
    if beta != 0:
        result += beta * self.to(torch.float64).numpy()
    return torch.from_numpy(result).to(mat1.dtype)
