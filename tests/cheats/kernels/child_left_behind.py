"""A child process outlives the call and the run; it sleeps for half a minute.

Source: own.
"""

import functools
import subprocess
import sys

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on, delegates"


@functools.cache
def start():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])


def mm(self, mat2):
    start()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
