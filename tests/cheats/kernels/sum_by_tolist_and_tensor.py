"""It loops in Python, but each addition is a call of torch on tensors.

Source: own.
"""

import torch

OPERATOR = "aten::sum"
LAYER = "L1Loss"
KIND = "delegates"


def sum(self, *, dtype=None):
    total = torch.zeros((), dtype=torch.float64)
    for value in self.double().reshape(-1).unbind():
        total = torch.add(total, value)
    return total.to(dtype or self.dtype)
