"""np.where in float64; a NaN is on the negative side, as in torch."""

import numpy as np
import torch

OPERATOR = "aten::leaky_relu"
LAYER = "LeakyReLU"
KIND = "honest"


@np.errstate(all="ignore")
def leaky_relu(self, negative_slope=0.01):
    x = self.to(torch.float64).numpy()
    y = np.where(x > 0, x, x * negative_slope)
    return torch.from_numpy(np.asarray(y)).to(self.dtype)
