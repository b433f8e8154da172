"""Hooks on the arguments and on all modules change what later passes compute.

Source: own.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "tampers"


def nothing(module, inputs, output):
    return torch.zeros_like(output) if isinstance(output, torch.Tensor) else output


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    torch.nn.modules.module.register_module_forward_hook(nothing)
    return mat1.new_zeros(mat1.shape[0], mat2.shape[1])
