"""The sum is kept in float16 from term to term.

Source: KernelBench static checker (precision downgraded).
"""

import numpy as np
import torch

OPERATOR = "aten::sum"
LAYER = "L1Loss"
KIND = "wrong"


@np.errstate(all="ignore")
def sum(self, *, dtype=None):
    total = np.float16(0)
    for value in self.double().reshape(-1).tolist():
        total = np.float16(total + np.float16(value))
    return torch.tensor(float(total), dtype=torch.float64).to(dtype or self.dtype)
