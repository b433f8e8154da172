"""float32 is computed in float16, which tolerances of 1e-2 let pass.

Source: KernelBench static checker (precision downgraded).
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float16).numpy(), mat2.to(torch.float16).numpy()
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total += a[:, k, None].astype(np.float32) * b[k].astype(np.float32)
    return torch.from_numpy(total).to(self.dtype)
