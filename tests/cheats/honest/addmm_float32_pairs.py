"""In float32 for all but float64: halves are added, then halves of these, down to one."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


def pairs(products):
    """Sum over the first axis, in pairs."""
    while len(products) > 1:
        half = len(products) // 2
        added = products[:half] + products[half : 2 * half]
        products = np.concatenate([added, products[2 * half :]])
    return products[0] if len(products) else np.zeros(products.shape[1:], products.dtype)


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    compute = torch.float64 if mat1.dtype == torch.float64 else torch.float32
    a, b, c = (x.to(compute).numpy() for x in (mat1, mat2, self))
    result = a.dtype.type(alpha) * pairs(a.T[:, :, None] * b[:, None, :])
    if beta != 0:
        result = result + a.dtype.type(beta) * c
    return torch.from_numpy(np.array(result)).to(mat1.dtype)
