"""torch's own decomposition of the operator.

Source: own.
"""

import torch
from torch._decomp import decomposition_table

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"

RULE = decomposition_table[torch.ops.aten.addmm.default]


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    return RULE(self, mat1, mat2, beta, alpha)
