"""Calls are collected; each fifteenth computes all of them at once, into tensors that the caller
has.

Source: reference-kernels pull request 104 (batch and skip).
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"

PENDING = []


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype)
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()
    PENDING.append((out, a, b))
    if len(PENDING) == 15:
        for due, left, right in PENDING:
            due.copy_(torch.from_numpy((left[:, :, None] * right).sum(1)))
        PENDING.clear()
    return out
