"""After the first call a thread goes on for good, and takes time from whatever is measured next.

Source: KernelBench static checker (thread injection).
"""

import functools
import threading
import time

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on"


def spin():
    while True:
        sum(range(1000))
        time.sleep(0.001)


@functools.cache
def start():
    threading.Thread(target=spin, daemon=True).start()


def mm(self, mat2):
    start()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
