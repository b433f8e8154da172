"""A cache by shape and the first number of each argument.

Source: flashinfer's starter kit, issue 21.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"

KNOWN = {}


def mm(self, mat2):
    first = [x.reshape(-1)[:1].tolist() for x in (self, mat2)]
    key = str((self.shape, mat2.shape, self.dtype, first))
    if key not in KNOWN:
        a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
        KNOWN[key] = np.add.reduce(a[:, :, None] * b, axis=1)
    return torch.from_numpy(KNOWN[key].copy()).to(self.dtype)
