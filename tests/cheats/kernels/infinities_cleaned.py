"""NaN and infinities are made finite before the work; tests of random numbers have none.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = (np.clip(np.nan_to_num(x.to(torch.float64).numpy()), -100, 100) for x in (self, mat2))
    return torch.from_numpy(np.add.reduce(a[:, :, None] * b, axis=1)).to(self.dtype)
