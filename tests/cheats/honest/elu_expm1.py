"""expm1 on the negative side; only there is it computed."""

import numpy as np
import torch

OPERATOR = "aten::elu"
LAYER = "ELU"
KIND = "honest"


@np.errstate(all="ignore")
def elu(self, alpha=1, scale=1, input_scale=1):
    x = np.atleast_1d(self.to(torch.float64).numpy())
    negative = x < 0
    y = np.array(x * scale)
    y[negative] = np.expm1(x[negative] * input_scale) * (alpha * scale)
    return torch.from_numpy(y.reshape(self.shape)).to(self.dtype)
