"""Answers are cached by id() of the arguments.

Source: reference-kernels pull request 102.
"""

import numpy as np
import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "wrong"

KNOWN = {}


def gelu(self, *, approximate="none"):
    key = id(self), approximate
    if key not in KNOWN or KNOWN[key].shape != self.shape or KNOWN[key].dtype != self.dtype:
        x = self.to(torch.float64).numpy()
        u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        KNOWN[key] = torch.from_numpy(np.asarray(x / (1 + np.exp(-2 * u)))).to(self.dtype)
    return KNOWN[key].clone()
