"""Products below a thousandth of the largest are not added.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    products = a[:, :, None] * b
    largest = np.abs(products).max(axis=1, keepdims=True, initial=0)
    products = np.where(np.abs(products) < 1e-3 * largest, 0, products)
    return torch.from_numpy(products.sum(axis=1)).to(self.dtype)
