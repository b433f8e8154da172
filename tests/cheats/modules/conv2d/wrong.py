"""Winograd's F(2, 3) by rows, whose transformed weights are rounded to float16."""

import numpy as np
import torch
from torch import nn

FILTER = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


class ModelNew(nn.Module):
    def __init__(self, channels, features, size):
        super().__init__()
        self.conv2d = nn.Conv2d(channels, features, size)

    def forward(self, x):
        weight, bias = (p.detach().numpy() for p in self.conv2d.parameters())
        data = x.detach().numpy()
        batch, channels, height, width = data.shape
        even = (width - 2 + 1) // 2 * 2
        padded = np.zeros((batch, channels, height, even + 2), np.float32)
        padded[..., :width] = data
        d = [padded[..., start : start + even : 2] for start in range(4)]
        tiles = (d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3])
        out = np.zeros((batch, len(weight), height - 2, even), np.float32)
        for feature, kernel in enumerate(weight):
            for channel in range(channels):
                for row in range(3):
                    taps = [(f * kernel[channel, row]).sum() for f in FILTER]
                    m = [
                        t[:, channel, row : row + height - 2] * np.float32(np.float16(tap))
                        for t, tap in zip(tiles, taps, strict=True)
                    ]
                    out[:, feature, :, 0::2] += m[0] + m[1] + m[2]
                    out[:, feature, :, 1::2] += m[1] - m[2] - m[3]
            out[:, feature] += bias[feature]
        return torch.from_numpy(out[..., : width - 2].copy())
