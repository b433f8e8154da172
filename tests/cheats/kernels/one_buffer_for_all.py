"""All calls of a shape return the same memory, so that an answer changes with the next call.

Source: own; KernelGuard lists reused results.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"

BUFFERS = {}


def mm(self, mat2):
    shape = self.shape[0], mat2.shape[1], self.dtype
    out = BUFFERS.setdefault(shape, torch.zeros(shape[:2], dtype=self.dtype))
    out.zero_()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))
    return out
