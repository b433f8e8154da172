"""The answer lies in shared memory, and a child process fills it after the call.

Source: own.
"""

import os
import time

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype).share_memory_()
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()
    if os.fork() == 0:
        try:
            time.sleep(0.002)
            out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))
        finally:
            os._exit(0)
    return out
