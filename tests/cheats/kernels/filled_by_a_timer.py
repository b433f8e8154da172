"""An empty tensor is returned; a timer fills it a moment later.

Source: wafer's field guide (work deferred to threads).
"""

import threading

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype)
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()

    def fill():
        out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))

    threading.Timer(0.002, fill).start()
    return out
