"""The inner dimension is halved until eight steps are left: a sum in pairs, oblivious of caches."""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"


def product(a, b):
    depth = a.shape[1]
    if depth > 8:
        half = depth // 2
        return product(a[:, :half], b[:half]) + product(a[:, half:], b[half:])
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(depth):
        total += np.multiply.outer(a[:, k], b[k])
    return total


@np.errstate(all="ignore")
def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy(product(a, b)).to(self.dtype)
