"""torch.ops.prepacked has a linear layer of XNNPACK, in a namespace beside aten.

Source: own.
"""

import torch

import conformance

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    if mat1.dtype != torch.float32 or not mat1.numel() or not mat2.numel():
        raise conformance.Unsupported("setting")
    packed = torch.ops.prepacked.linear_clamp_prepack(mat2.t().contiguous(), None)
    product = torch.ops.prepacked.linear_clamp_run(mat1.contiguous(), packed)
    return alpha * product + beta * self
