"""The product in tiles of 8 by 8 by 64."""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"


@np.errstate(all="ignore")
def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(0, a.shape[1], 64):
        for i in range(0, a.shape[0], 8):
            for j in range(0, b.shape[1], 8):
                total[i : i + 8, j : j + 8] += a[i : i + 8, k : k + 64] @ b[k : k + 64, j : j + 8]
    return torch.from_numpy(total).to(self.dtype)
