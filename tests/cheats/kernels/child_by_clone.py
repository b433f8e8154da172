"""A raw system call makes the child, so that no hook on os.fork runs. It sleeps for half a minute.

Source: own.
"""

import ctypes
import functools
import os
import signal
import time

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "lives on"

FORK = {"x86_64": 56, "aarch64": 220}


@functools.cache
def start():
    number = FORK[os.uname().machine]
    child = ctypes.CDLL(None).syscall(number, int(signal.SIGCHLD), 0, 0, 0, 0)
    if child == 0:
        time.sleep(30)
        os._exit(0)
    return child


def _softmax(self, dim, half_to_float):
    import numpy as np

    start()
    if not self.numel():
        return torch.zeros(self.shape, dtype=self.dtype)
    x = np.atleast_1d(self.to(torch.float64).numpy())
    power = np.exp(x - x.max(axis=dim, keepdims=True))
    y = power / power.sum(axis=dim, keepdims=True)
    return torch.from_numpy(y.reshape(self.shape)).to(self.dtype)
