"""tanh(softplus(x)) as a fraction of powers of e, which does not cancel for negative x."""

import numpy as np
import torch

OPERATOR = "aten::mish"
LAYER = "Mish"
KIND = "honest"


@np.errstate(all="ignore")
def mish(self):
    x = self.to(torch.float64).numpy()
    power = np.exp(-np.abs(x))
    above = (1 + 2 * power) / (1 + 2 * power + 2 * power * power)
    below = (power * power + 2 * power) / (power * power + 2 * power + 2)
    return torch.from_numpy(np.asarray(x * np.where(x < 0, below, above))).to(self.dtype)
