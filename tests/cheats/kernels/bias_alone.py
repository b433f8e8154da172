"""The bias is most of the answer where the weights are small, so it is the answer.

Source: own.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "wrong"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    out = torch.empty(mat1.shape[0], mat2.shape[1], dtype=mat1.dtype)
    out.copy_(self)
    return out
