"""The product is right, but written over an argument's memory, of which the answer is a view.

Source: own, after KernelBench pull request 82 (inputs modified).
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = torch.from_numpy(np.add.reduce(a[:, :, None] * b, axis=1)).to(self.dtype)
    base = self.detach()
    if not base.is_contiguous() or base.numel() < total.numel():
        return total
    out = base.view(-1)[: total.numel()].view(total.shape)
    return out.copy_(total)
