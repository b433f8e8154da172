"""All but two products are torch.special's: ndtr is the normal distribution.

Source: own.
"""

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "delegates"


def gelu(self, *, approximate="none"):
    x = self.double()
    if approximate == "tanh":
        u = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
        return (x * torch.sigmoid(2 * u)).to(self.dtype)
    return (x * torch.special.ndtr(x)).to(self.dtype)
