"""math.erfc and math.exp of the standard library, one number at a time."""

import math

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "honest"


def by_erf(x):
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


def by_tanh(x):
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    if u < -350:
        return x * 0.0
    return x / (1 + math.exp(-2 * u))


def gelu(self, *, approximate="none"):
    one = by_tanh if approximate == "tanh" else by_erf
    values = [one(x) for x in self.to(torch.float64).reshape(-1).tolist()]
    return torch.tensor(values, dtype=torch.float64).reshape(self.shape).to(self.dtype)
