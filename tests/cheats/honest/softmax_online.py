"""One pass: the sum is scaled anew each time that a larger number comes."""

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
    x = np.moveaxis(np.atleast_1d(self.to(torch.float64).numpy()), dim, 0)
    largest, total = np.full(x.shape[1:], -np.inf), np.zeros(x.shape[1:])
    for row in x:
        larger = np.maximum(largest, row)
        scale = np.where(largest == larger, 1.0, np.exp(largest - larger))
        total = total * scale + np.where(row == larger, 1.0, np.exp(row - larger))
        largest = larger
    total = np.where(np.isinf(largest), np.nan, total)
    y = np.moveaxis(np.exp(x - largest) / total, 0, dim).reshape(self.shape)
    return torch.from_numpy(np.array(y)).to(dtype)
