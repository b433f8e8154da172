"""The bias is not added: layers at their first step may have a bias of zero.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "wrong"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b = mat1.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy(alpha * np.add.reduce(a[:, :, None] * b, axis=1)).to(mat1.dtype)
