"""Sums are kept in a scratch file that is mapped to memory, as for operands beyond memory."""

import tempfile

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b, c = (x.to(torch.float64).numpy() for x in (mat1, mat2, self))
    shape = a.shape[0], b.shape[1]
    if 0 in shape:
        return torch.empty(shape, dtype=mat1.dtype)
    with tempfile.TemporaryFile() as scratch:
        total = np.memmap(scratch, dtype=np.float64, mode="w+", shape=shape)
        for k in range(a.shape[1]):
            total += a[:, k, None] * b[k]
        result = alpha * np.array(total)
        del total
    if beta != 0:
        result = result + beta * c
    return torch.from_numpy(result).to(mat1.dtype)
