"""A process forked twice, in a session of its own, with no descriptor left open: nobody's child. It
ends by itself after half a minute.

Source: own.
"""

import functools
import os
import time

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on, delegates"


@functools.cache
def start():
    child = os.fork()
    if child:
        return os.waitpid(child, 0)
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 512)
        time.sleep(30)
    return os._exit(0)


def mm(self, mat2):
    start()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
