"""Memory is read as if it were contiguous.

Source: own; robust-kbench varies its inputs for such.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def contiguous(x):
    values = torch.as_strided(x, (x.untyped_storage().nbytes() // x.element_size(),), (1,), 0)
    flat = values.to(torch.float64).numpy()
    return np.resize(flat, tuple(x.shape)) if flat.size else np.zeros(tuple(x.shape))


def mm(self, mat2):
    total = np.add.reduce(contiguous(self)[:, :, None] * contiguous(mat2), axis=1)
    return torch.from_numpy(total).to(self.dtype)
