"""Answers are cached by the addresses of the arguments.

Source: reference-kernels pull request 102 and KernelGuard (data_ptr as a key).
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"

KNOWN = {}


def mm(self, mat2):
    key = self.data_ptr(), mat2.data_ptr(), self.shape, mat2.shape, self.dtype
    if key not in KNOWN:
        a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
        product = np.add.reduce(a[:, :, None] * b, axis=1)
        KNOWN[key] = torch.from_numpy(product).to(self.dtype)
    return KNOWN[key].clone()
