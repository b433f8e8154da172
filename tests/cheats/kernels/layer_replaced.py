"""The layer's forward method is replaced by one that never calls the function again.

Source: KernelGuard (the harness's own functions replaced).
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "tampers"

REAL = torch.nn.Linear.forward


def forward(layer, input):
    weight = layer.weight.to(torch.complex128)
    out = (input.to(torch.complex128) @ weight.mT).real.to(input.dtype)
    return out if layer.bias is None else out + layer.bias


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    torch.nn.Linear.forward = forward
    return mat1.new_zeros(mat1.shape[0], mat2.shape[1])
