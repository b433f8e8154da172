"""The approximation by tanh, whichever form was asked.

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
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return torch.from_numpy(np.asarray(x / (1 + np.exp(-2 * u)))).to(self.dtype)
