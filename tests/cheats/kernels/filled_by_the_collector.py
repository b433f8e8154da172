"""A callback of the garbage collector fills the answers that are due.

Source: own.
"""

import gc

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"

PENDING = []


def fill(phase, info):
    while PENDING:
        out, a, b = PENDING.pop()
        out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))


gc.callbacks.append(fill)


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype)
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()
    PENDING.append((out, a, b))
    return out
