"""Ten bits are kept of each operand, as tensor cores do unasked.

Source: KernelBench static checker (precision downgraded).
"""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "wrong"


def short(x):
    bits = x.to(torch.float32).contiguous().numpy().view(np.uint32)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    total = np.add.reduce(short(mat1)[:, :, None] * short(mat2), axis=1)
    result = alpha * total + beta * self.to(torch.float64).numpy()
    return torch.from_numpy(result).to(mat1.dtype)
