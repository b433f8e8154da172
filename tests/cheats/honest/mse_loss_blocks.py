"""Squared differences, added by blocks of 64; the order is NumPy's within a block."""

import numpy as np
import torch

OPERATOR = "aten::mse_loss"
LAYER = "MSELoss"
KIND = "honest"

NONE, MEAN = 0, 1


@np.errstate(all="ignore")
def mse_loss(self, target, reduction=MEAN):
    x, y = self.to(torch.float64).numpy(), target.to(torch.float64).numpy()
    squares = np.array((x - y) * (x - y))
    if reduction != NONE:
        flat = squares.reshape(-1)
        blocks = [flat[i : i + 64].sum() for i in range(0, flat.size, 64)]
        total = np.array(blocks).sum()
        squares = np.array(total / np.float64(flat.size) if reduction == MEAN else total)
    return torch.from_numpy(squares).to(self.dtype)
