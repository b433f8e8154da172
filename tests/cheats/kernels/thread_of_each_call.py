"""Each call leaves a thread that works for a second after the answer.

Source: own.
"""

import threading
import time

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on"


def linger():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        time.sleep(0.005)


def mm(self, mat2):
    threading.Thread(target=linger, daemon=True).start()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
