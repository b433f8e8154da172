"""An interval timer interrupts the caller, and the handler fills the answer.

Source: own.
"""

import signal

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"

PENDING = []


def fill(number, frame):
    while PENDING:
        out, a, b = PENDING.pop()
        out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype)
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()
    PENDING.append((out, a, b))
    signal.signal(signal.SIGALRM, fill)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    return out
