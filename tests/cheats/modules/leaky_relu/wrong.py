"""Multiplies the negative elements by the slope, rounded to a multiple of 1/4096."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, negative_slope=0.01):
        super().__init__()
        self.shifted = round(negative_slope * 4096)

    def forward(self, x):
        rows = x.detach().numpy()
        out = np.empty(rows.shape, np.float32)
        for index, row in enumerate(rows):
            out[index] = np.where(row < 0, row * np.float32(self.shifted / 4096), row)
        return torch.from_numpy(out)
