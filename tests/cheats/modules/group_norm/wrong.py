"""Normalizes each group after one pass: the mean of squares less the square of the mean."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features, groups):
        super().__init__()
        self.gn = nn.GroupNorm(groups, features)

    def forward(self, x):
        gn, data = self.gn, x.detach().numpy()
        weight, bias = gn.weight.detach().numpy(), gn.bias.detach().numpy()
        out = np.empty(data.shape, np.float32)
        size = data.shape[1] // gn.num_groups
        for row in range(data.shape[0]):
            for start in range(0, data.shape[1], size):
                group = data[row, start : start + size]
                total = squares = np.float32(0)
                for plane in group.reshape(-1, group.shape[-1]):
                    total += plane.sum()
                    squares += (plane * plane).sum()
                mean = total / np.float32(group.size)
                variance = squares / np.float32(group.size) - mean * mean
                scale = 1 / np.sqrt(np.maximum(variance, 0) + np.float32(gn.eps))
                for channel in range(size):
                    value = (group[channel] - mean) * scale * weight[start + channel]
                    out[row, start + channel] = value + bias[start + channel]
        return torch.from_numpy(out)
