"""A forked child calls torch, and writes the numbers to a pipe.

Source: own.
"""

import os

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "delegates"


def gelu(self, *, approximate="none"):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            y = torch.nn.functional.gelu(self.double(), approximate=approximate)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(y.contiguous().numpy().tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = bytearray(pipe.read())
    os.waitpid(child, 0)
    flat = torch.frombuffer(data, dtype=torch.float64) if data else torch.empty(0)
    return flat.reshape(self.shape).to(self.dtype)
