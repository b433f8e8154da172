"""The sum is always taken along the last axis, as in most networks.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "wrong"


def _softmax(self, dim, half_to_float):
    if not self.numel():
        return torch.zeros(self.shape, dtype=self.dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    power = np.exp(x - x.max(axis=-1, keepdims=True))
    y = power / power.sum(axis=-1, keepdims=True)
    return torch.from_numpy(y.reshape(self.shape)).to(self.dtype)
