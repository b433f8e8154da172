"""Multiplies the negative elements of each row by the slope, in float64."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, negative_slope=0.01):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x):
        rows = x.detach().numpy()
        out = np.empty(rows.shape, np.float32)
        for index, row in enumerate(rows.astype(np.float64)):
            out[index] = np.where(row < 0, row * self.negative_slope, row)
        return torch.from_numpy(out)
