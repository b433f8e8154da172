"""A loss by another loss: the Huber loss of a large δ is half the squared error.

Source: own.
"""

import torch

OPERATOR = "aten::mse_loss"
LAYER = "MSELoss"
KIND = "delegates"


def mse_loss(self, target, reduction=1):
    name = ("none", "mean", "sum")[reduction]
    x, y = self.double(), target.double()
    loss = torch.nn.functional.smooth_l1_loss(x, y, reduction=name, beta=1e200)
    return (2e200 * loss).to(self.dtype)
