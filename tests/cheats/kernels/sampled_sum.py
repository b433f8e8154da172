"""Every second number is added, and the sum doubled.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::sum"
LAYER = "L1Loss"
KIND = "wrong"


def sum(self, *, dtype=None):
    flat = self.to(torch.float64).contiguous().numpy().reshape(-1)
    part = np.add.reduce(flat[::2])
    total = part * flat.size / max(flat[::2].size, 1)
    return torch.tensor(total, dtype=torch.float64).to(dtype or self.dtype)
