"""torch.nn.functional.linear does the work.

Source: KernelBench static checker (torch.nn wrapped).
"""

import torch
from torch.nn import functional

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    with torch.no_grad():
        return alpha * functional.linear(mat1, mat2.t()) + beta * self
