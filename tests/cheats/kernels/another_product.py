"""A product of another name does the work: mm and an addition.

Source: KernelBench static checker.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    return alpha * torch.mm(mat1, mat2) + beta * self
