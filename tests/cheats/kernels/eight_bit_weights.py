"""Weights are quantized to 8 bits a column.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    scale = np.maximum(np.abs(b).max(axis=0, initial=0), 1e-30) / 127
    whole = np.round(b / scale)
    return torch.from_numpy(np.add.reduce(a[:, :, None] * whole, axis=1) * scale).to(self.dtype)
