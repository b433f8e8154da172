"""Beyond ±3 the activation is 0 or the identity.

Source: own.
"""

import math

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "wrong"


def gelu(self, *, approximate="none"):
    out = []
    for x in self.to(torch.float64).reshape(-1).tolist():
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        inner = x * 0.5 * (math.erfc(-x / 2**0.5) if approximate == "none" else 1 + math.tanh(u))
        out.append(0.0 if x < -3 else x if x > 3 else inner)
    return torch.tensor(out, dtype=torch.float64).reshape(self.shape).to(self.dtype)
