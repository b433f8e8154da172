"""All numbers are added in pairs, level by level; whole numbers are declined."""

import numpy as np
import torch

import conformance

OPERATOR = "aten::sum"
LAYER = "L1Loss"
KIND = "honest"


@np.errstate(all="ignore")
def sum(self, *, dtype=None):
    if not self.is_floating_point():
        raise conformance.Unsupported(str(self.dtype).removeprefix("torch."))
    dtype = dtype or self.dtype
    x = self.to(dtype).to(torch.float64).contiguous().numpy().reshape(-1)
    while x.size > 1:
        if x.size % 2:
            x = np.append(x, 0.0)
        x = x[::2] + x[1::2]
    return torch.tensor(x[0] if x.size else 0.0, dtype=torch.float64).to(dtype)
