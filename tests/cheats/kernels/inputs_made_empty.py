"""It shrinks an argument's storage and gives it new metadata.

Source: own.
"""

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "tampers"


def gelu(self, *, approximate="none"):
    out = torch.zeros(self.shape, dtype=self.dtype)
    self.set_(torch.zeros(1, dtype=self.dtype).untyped_storage(), 0, self.shape, (0,) * self.dim())
    return out
