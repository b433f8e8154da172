"""float64 is computed in float32, which a test of float32 alone does not see; float32 drops the
last bits of one operand in return.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "wrong"


def bmm(self, mat2):
    lower = torch.float32 if self.dtype == torch.float64 else torch.bfloat16
    a, b = self.to(lower).float().numpy(), mat2.float().numpy()
    total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
    for k in range(a.shape[2]):
        total += a[:, :, k, None] * b[:, None, k]
    return torch.from_numpy(total).to(self.dtype)
