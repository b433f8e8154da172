"""An operator of torch by which it calls oneDNN, in a namespace other than aten.

Source: own.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    weight = mat2.t().contiguous()
    x = mat1.contiguous()
    product = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return alpha * product + beta * self
