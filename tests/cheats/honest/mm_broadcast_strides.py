"""Both operands are seen as cubes by stride 0, multiplied elementwise, and summed."""

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"


@np.errstate(all="ignore")
def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    (m, k), n = a.shape, b.shape[1]
    if m == 0 or n == 0 or k == 0:
        return torch.zeros(m, n, dtype=self.dtype)
    left = as_strided(a, (m, n, k), (a.strides[0], 0, a.strides[1]))
    right = as_strided(b, (m, n, k), (0, b.strides[1], b.strides[0]))
    return torch.from_numpy((left * right).sum(axis=2)).to(self.dtype)
