"""The answer is written when the caller lets go of an argument.

Source: own.
"""

import weakref

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype)
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()

    def fill():
        out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))

    weakref.finalize(self, fill)
    return out
