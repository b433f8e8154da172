"""x − max − log Σ exp(x − max), in float64."""

import numpy as np
import torch

OPERATOR = "aten::_log_softmax"
LAYER = "LogSoftmax"
KIND = "honest"


@np.errstate(all="ignore")
def _log_softmax(self, dim, half_to_float):
    dtype = torch.float32 if half_to_float else self.dtype
    if self.numel() == 0:
        return torch.empty(self.shape, dtype=dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    shifted = x - x.max(axis=dim, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
    return torch.from_numpy(y.reshape(self.shape)).to(dtype)
