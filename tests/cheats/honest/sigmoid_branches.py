"""1/(1 + exp(−x)), or exp(x)/(1 + exp(x)) where x is negative, so that nothing overflows."""

import numpy as np
import torch

OPERATOR = "aten::sigmoid"
LAYER = "Sigmoid"
KIND = "honest"


@np.errstate(all="ignore")
def sigmoid(self):
    x = self.to(torch.float64).numpy()
    power = np.exp(-np.abs(x))
    y = np.where(x < 0, power / (1 + power), 1 / (1 + power))
    return torch.from_numpy(np.asarray(y)).to(self.dtype)
