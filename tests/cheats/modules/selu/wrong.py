"""The formula of SELU with constants of four digits."""

import numpy as np
import torch
from torch import nn

ALPHA = 1.6733
SCALE = 1.0507


class ModelNew(nn.Module):
    def forward(self, x):
        rows = x.detach().numpy()
        out = np.empty(rows.shape, np.float32)
        for index, row in enumerate(rows.astype(np.float64)):
            negative = ALPHA * np.expm1(np.minimum(row, 0))
            out[index] = SCALE * np.where(row > 0, row, negative)
        return torch.from_numpy(out)
