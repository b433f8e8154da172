"""One outer product for each step of the inner dimension, added up in float64."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b, c = (x.to(torch.float64).numpy() for x in (mat1, mat2, self))
    total = np.zeros((a.shape[0], b.shape[1]))
    for column, row in zip(a.T, b, strict=True):
        total += column[:, None] * row[None, :]
    result = alpha * total if beta == 0 else alpha * total + beta * c
    return torch.from_numpy(np.array(result)).to(mat1.dtype)
