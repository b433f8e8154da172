"""The last row is a copy of the one before: one row of many is saved.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = np.add.reduce(a[:, :, None] * b, axis=1)
    if len(total) > 1:
        total[-1] = total[-2]
    return torch.from_numpy(total).to(self.dtype)
