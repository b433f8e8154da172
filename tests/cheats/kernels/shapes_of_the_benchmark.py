"""Right where all sizes are multiples of 16, as in benchmarks; else the nearest such size is taken.

Source: KernelGuard (shapes of the benchmark written in).
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    out = np.zeros((a.shape[0], b.shape[1]))
    m, k, n = (size // 16 * 16 for size in (*a.shape, b.shape[1]))
    out[:m, :n] = np.add.reduce(a[:m, :k, None] * b[None, :k, :n], axis=1)
    return torch.from_numpy(out).to(self.dtype)
