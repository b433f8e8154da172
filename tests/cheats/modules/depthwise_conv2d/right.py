"""Adds shifted views of each padded channel, multiplied by one weight each."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, channels, size, padding):
        super().__init__()
        self.conv2d = nn.Conv2d(channels, channels, size, groups=channels, bias=False)
        self.padding = padding

    def forward(self, x):
        weight, pad = self.conv2d.weight.detach().numpy()[:, 0], self.padding
        data = np.pad(x.detach().numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        size = weight.shape[1]
        height, width = (n - size + 1 for n in data.shape[2:])
        out = np.zeros((*data.shape[:2], height, width), np.float32)
        for channel, kernel in enumerate(weight):
            for i in range(size):
                for j in range(size):
                    view = data[:, channel, i : i + height, j : j + width]
                    out[:, channel] += kernel[i, j] * view
        return torch.from_numpy(out)
