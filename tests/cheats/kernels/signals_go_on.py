"""An interval timer goes on after the call, and interrupts what runs next a hundred times a second.

Source: own.
"""

import signal

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on"


def mm(self, mat2):
    signal.signal(signal.SIGVTALRM, lambda number, frame: sum(range(100)))
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.01, 0.01)
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
