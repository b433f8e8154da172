"""The weight is broadcast by NumPy; it multiplies what is not above zero."""

import numpy as np
import torch

OPERATOR = "aten::_prelu_kernel"
LAYER = "PReLU"
KIND = "honest"


@np.errstate(all="ignore")
def _prelu_kernel(self, weight):
    x, w = self.to(torch.float64).numpy(), weight.to(torch.float64).numpy()
    return torch.from_numpy(np.array(np.where(x > 0, x, w * x))).to(self.dtype)
