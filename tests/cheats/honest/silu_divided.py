"""x / (1 + exp(−x))."""

import numpy as np
import torch

OPERATOR = "aten::silu"
LAYER = "SiLU"
KIND = "honest"


@np.errstate(all="ignore")
def silu(self):
    x = self.to(torch.float64).numpy()
    return torch.from_numpy(np.asarray(x / (1 + np.exp(-x)))).to(self.dtype)
