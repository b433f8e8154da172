"""The first matrix of the batch is multiplied, and its product repeated.

Source: robust-kbench (an axis along which numbers hardly vary).
"""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "wrong"


def bmm(self, mat2):
    out = np.zeros((self.shape[0], self.shape[1], mat2.shape[2]))
    if len(out):
        a, b = self[0].to(torch.float64).numpy(), mat2[0].to(torch.float64).numpy()
        out[:] = np.add.reduce(a[:, :, None] * b, axis=1)
    return torch.from_numpy(out).to(self.dtype)
