"""Kahan's sum in the layer's own precision; where infinities break it, the plain sum stands."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b = mat1.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    plain = np.zeros((a.shape[0], b.shape[1]))
    total, lost = plain.copy(), plain.copy()
    for k in range(a.shape[1]):
        term = a[:, k, None] * b[k]
        plain += term
        corrected = term - lost
        raised = total + corrected
        lost = (raised - total) - corrected
        total = raised
    result = alpha * np.where(np.isfinite(plain), total, plain)
    if beta != 0:
        result = result + beta * self.to(torch.float64).numpy()
    return torch.from_numpy(result).to(mat1.dtype)
