"""Normalizes each group after two passes over it, in float64."""

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
                group = data[row, start : start + size].astype(np.float64)
                centred = group - group.sum() / group.size
                scale = 1 / np.sqrt((centred * centred).sum() / group.size + gn.eps)
                for channel in range(size):
                    value = centred[channel] * scale * weight[start + channel]
                    out[row, start + channel] = value + bias[start + channel]
        return torch.from_numpy(out)
