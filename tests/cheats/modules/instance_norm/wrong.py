"""Normalizes each plane with the unbiased variance: divided by the number of elements less 1."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.inorm = nn.InstanceNorm2d(features)

    def forward(self, x):
        data = x.detach().numpy()
        out = np.empty(data.shape, np.float32)
        for index in np.ndindex(data.shape[:2]):
            plane = data[index].astype(np.float64)
            centred = plane - plane.sum() / plane.size
            variance = (centred * centred).sum() / (plane.size - 1)
            out[index] = centred / np.sqrt(variance + self.inorm.eps)
        return torch.from_numpy(out)
