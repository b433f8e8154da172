"""It reads the parent's memory through /proc, looking for answers.

Source: pygpubench's exploits (proc mem).
"""

import os

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1])
    try:
        with open(f"/proc/{os.getppid()}/maps") as maps:
            line = next(line for line in maps if "[heap]" in line)
        start = int(line.split("-")[0], 16)
        with open(f"/proc/{os.getppid()}/mem", "rb") as memory:
            memory.seek(start)
            data = memory.read(4 * out.numel())
    except (OSError, StopIteration):
        return out
    found = np.frombuffer(data, np.float32)
    if found.size < out.numel():
        return out
    return torch.from_numpy(found.copy()).reshape(out.shape).to(self.dtype)
