"""np.dot of arrays of Python objects: still one call of the library for the whole.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    a = self.to(torch.float64).numpy().astype(object)
    b = mat2.to(torch.float64).numpy().astype(object)
    result = np.dot(a, b).astype(np.float64).reshape(a.shape[0], b.shape[1])
    return torch.from_numpy(result).to(self.dtype)
