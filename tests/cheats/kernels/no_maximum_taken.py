"""exp without taking the largest number away: right for small numbers, NaN for large ones.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "wrong"


@np.errstate(all="ignore")
def _softmax(self, dim, half_to_float):
    x = np.atleast_1d(self.to(torch.float32).numpy())
    power = np.exp(x)
    y = power / power.sum(axis=dim, keepdims=True)
    return torch.from_numpy(y.reshape(self.shape)).to(self.dtype)
