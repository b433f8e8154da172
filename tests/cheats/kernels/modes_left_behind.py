"""It changes what all later calls of torch do: default dtype, deterministic mode, inference mode,
modes of dispatch left behind.

Source: own.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers, delegates"


class Halving(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return out * 0 if isinstance(out, torch.Tensor) and out.is_floating_point() else out


LEFT = []


def mm(self, mat2):
    torch.set_default_dtype(torch.float64)
    if not LEFT:
        LEFT.append(Halving())
        LEFT[0].__enter__()
    return self.new_zeros(self.shape[0], mat2.shape[1])
