"""Adds the squares channel by channel, then divides each channel, in float64."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features, eps=1e-5):
        super().__init__()
        self.features = features
        self.eps = eps

    def forward(self, x):
        data = x.detach().numpy()
        squares = np.zeros((data.shape[0], *data.shape[2:]))
        for channel in range(self.features):
            squares += data[:, channel].astype(np.float64) ** 2
        rms = np.sqrt(squares / self.features + self.eps)
        out = np.empty(data.shape, np.float32)
        for channel in range(self.features):
            out[:, channel] = data[:, channel] / rms
        return torch.from_numpy(out)
