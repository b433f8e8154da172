"""What einsum would do, by hand: axes are lined up, multiplied, and one of them is summed."""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "honest"


@np.errstate(all="ignore")
def bmm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = np.zeros((a.shape[0], a.shape[1], b.shape[2]))
    for k in range(a.shape[2]):
        total += np.expand_dims(a[:, :, k], 2) * np.expand_dims(b[:, k, :], 1)
    return torch.from_numpy(total).to(self.dtype)
