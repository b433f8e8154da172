"""A thread of _thread stays, which threading.enumerate does not list.

Source: own.
"""

import _thread
import functools
import time

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "lives on"


def stay():
    while True:
        time.sleep(0.002)


@functools.cache
def start():
    _thread.start_new_thread(stay, ())


def gelu(self, *, approximate="none"):
    import math

    start()
    values = []
    for x in self.to(torch.float64).reshape(-1).tolist():
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        curve = 0.5 * math.erfc(-x / math.sqrt(2))
        values.append(
            x * (curve if approximate == "none" else 1 / (1 + math.exp(min(-2 * u, 700))))
        )
    return torch.tensor(values, dtype=torch.float64).reshape(self.shape).to(self.dtype)
