"""An instance of torch.nn.Linear is made and called.

Source: KernelBench static checker.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    layer = torch.nn.Linear(*mat2.shape, bias=False, dtype=mat2.dtype)
    layer.weight = torch.nn.Parameter(mat2.t(), requires_grad=False)
    return alpha * layer(mat1).detach() + beta * self
