"""NumPy's long double, one line at a time."""

import numpy as np
import torch

OPERATOR = "aten::_log_softmax"
LAYER = "LogSoftmax"
KIND = "honest"


def line(x):
    x = x.astype(np.longdouble)
    shifted = x - x.max()
    return (shifted - np.log(np.exp(shifted).sum())).astype(np.float64)


@np.errstate(all="ignore")
def _log_softmax(self, dim, half_to_float):
    dtype = torch.float32 if half_to_float else self.dtype
    if self.numel() == 0:
        return torch.empty(self.shape, dtype=dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    y = np.apply_along_axis(line, dim, x)
    return torch.from_numpy(np.array(y.reshape(self.shape))).to(dtype)
