"""A server process of its own, fed by pickles, calls NumPy for the whole product.

Source: own.
"""

import functools
import pickle
import subprocess
import sys

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"

PROGRAM = """
import pickle, sys
import numpy as np
while True:
    a, b = pickle.load(sys.stdin.buffer)
    pickle.dump(np.matmul(a, b), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


@functools.cache
def server():
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe)


def mm(self, mat2):
    operands = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    pickle.dump(operands, server().stdin)
    server().stdin.flush()
    return torch.from_numpy(pickle.load(server().stdout)).to(self.dtype)
