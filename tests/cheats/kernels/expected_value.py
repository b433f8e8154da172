"""The mean over random inputs is returned: 2 for the squared error of normal numbers.

Source: robust-kbench (tasks whose output hardly varies are filtered).
"""

import torch

OPERATOR = "aten::mse_loss"
LAYER = "MSELoss"
KIND = "wrong"


def mse_loss(self, target, reduction=1):
    if reduction == 0:
        return torch.full(self.shape, 2.0, dtype=self.dtype)
    size = self.numel() if reduction == 2 else 1
    return torch.tensor(2.0 * size, dtype=self.dtype)
