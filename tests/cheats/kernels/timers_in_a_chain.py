"""Each timer starts the next, for five seconds after the last call.

Source: own.
"""

import threading
import time

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on"

STATE = {"end": 0.0, "running": False}


def tick():
    STATE["running"] = time.monotonic() < STATE["end"]
    if STATE["running"]:
        timer = threading.Timer(0.01, tick)
        timer.daemon = True
        timer.start()


def mm(self, mat2):
    STATE["end"] = time.monotonic() + 5
    if not STATE["running"]:
        tick()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
