"""The first answer of each shape is given to all calls of the shape.

Source: KernelGuard (result caches).
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"

KNOWN = {}


def mm(self, mat2):
    key = self.shape, mat2.shape, self.dtype
    if key not in KNOWN:
        a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
        KNOWN[key] = np.add.reduce(a[:, :, None] * b, axis=1)
    return torch.from_numpy(KNOWN[key].copy()).to(self.dtype)
