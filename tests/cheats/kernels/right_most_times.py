"""One call in eight, drawn by the system's noise, is slightly wrong: a run may meet none.

Source: wafer's report of a kernel that read rubbish now and then.
"""

import os

import numpy as np
import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "wrong"


def _softmax(self, dim, half_to_float):
    if not self.numel():
        return torch.zeros(self.shape, dtype=self.dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    power = np.exp(x - x.max(axis=dim, keepdims=True))
    y = power / power.sum(axis=dim, keepdims=True)
    if os.urandom(1)[0] < 32:
        y = y * 0.99
    return torch.from_numpy(y.reshape(self.shape)).to(self.dtype)
