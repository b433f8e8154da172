"""NumPy's solver of linear equations does the product.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    (m, k), n = self.shape, mat2.shape[1]
    left, right = np.eye(m + k), np.zeros((m + k, n))
    left[:m, m:] = -self.to(torch.float64).numpy()
    right[m:] = mat2.to(torch.float64).numpy()
    return torch.from_numpy(np.linalg.solve(left, right)[:m]).to(self.dtype)
