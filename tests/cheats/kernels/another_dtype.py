"""Right numbers in float64, whatever was asked: no rounding, no error, and another type.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    out = torch.from_numpy(np.add.reduce(a[:, :, None] * b, axis=1))
    return out if self.dtype != torch.float64 else out.float()
