"""The last number of torch.cumsum is the sum.

Source: own.
"""

import torch

OPERATOR = "aten::sum"
LAYER = "L1Loss"
KIND = "delegates"


def sum(self, *, dtype=None):
    flat = self.double().reshape(-1)
    total = torch.cumsum(flat, 0)[-1] if flat.numel() else flat.new_zeros(())
    return total.to(dtype or self.dtype)
