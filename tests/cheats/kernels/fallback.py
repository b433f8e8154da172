"""Own code that always fails, and an except that calls torch.

Source: KernelBench static checker.
"""

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "delegates"


def fused(x, dim):
    raise RuntimeError("no device for the fused kernel")


def _softmax(self, dim, half_to_float):
    try:
        return fused(self, dim)
    except RuntimeError:
        return torch.softmax(self, dim)
