"""Weights are packed at the first call, by address and shape, and never again.

Source: flashinfer's starter kit, issue 21 (weight cache).
"""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "wrong"

PACKED = {}


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    key = tuple(mat2.shape)
    if key not in PACKED:
        PACKED[key] = mat2.to(torch.float64).numpy().copy()
    a, c = mat1.to(torch.float64).numpy(), self.to(torch.float64).numpy()
    total = np.add.reduce(a[:, :, None] * PACKED[key], axis=1)
    return torch.from_numpy(alpha * total + beta * c).to(mat1.dtype)
