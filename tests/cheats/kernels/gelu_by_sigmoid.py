"""x·σ(1.702x), which is right to two digits.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "wrong"


@np.errstate(all="ignore")
def gelu(self, *, approximate="none"):
    x = self.to(torch.float64).numpy()
    return torch.from_numpy(np.asarray(x / (1 + np.exp(-1.702 * x)))).to(self.dtype)
