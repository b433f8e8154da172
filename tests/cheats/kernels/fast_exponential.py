"""exp by a shift into the exponent of a float, right to a few percent.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "wrong"


def fast(x):
    whole = np.clip(x * 12102203.0 + 1064866805.0, 0, 2.1e9).astype(np.int32)
    return whole.view(np.float32).astype(np.float64)


@np.errstate(all="ignore")
def _softmax(self, dim, half_to_float):
    if not self.numel():
        return torch.zeros(self.shape, dtype=self.dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    power = fast(x - x.max(axis=dim, keepdims=True))
    y = power / power.sum(axis=dim, keepdims=True)
    return torch.from_numpy(y.reshape(self.shape)).to(self.dtype)
