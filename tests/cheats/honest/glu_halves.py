"""The first half times the sigmoid of the second."""

import numpy as np
import torch

OPERATOR = "aten::glu"
LAYER = "GLU"
KIND = "honest"


@np.errstate(all="ignore")
def glu(self, dim=-1):
    a, b = np.split(self.to(torch.float64).numpy(), 2, axis=dim)
    return torch.from_numpy(np.ascontiguousarray(a / (1 + np.exp(-b)))).to(self.dtype)
