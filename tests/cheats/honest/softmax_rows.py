"""The row's largest number is taken away, then exp, then the sum, all in float64."""

import numpy as np
import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "honest"


@np.errstate(all="ignore")
def _softmax(self, dim, half_to_float):
    dtype = torch.float32 if half_to_float else self.dtype
    if self.numel() == 0:
        return torch.empty(self.shape, dtype=dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    y = np.exp(x - x.max(axis=dim, keepdims=True))
    y /= y.sum(axis=dim, keepdims=True)
    return torch.from_numpy(y.reshape(self.shape)).to(dtype)
