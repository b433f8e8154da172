"""Normalizes one channel after another, and leaves eps out."""

import math

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.bn = nn.BatchNorm2d(features)

    def forward(self, x):
        bn, data = self.bn, x.detach().numpy()
        out = np.empty(data.shape, np.float32)
        values = (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        for channel, value in enumerate(zip(*(v.tolist() for v in values), strict=True)):
            mean, variance, weight, bias = value
            scale = weight / math.sqrt(variance)
            out[:, channel] = (data[:, channel].astype(np.float64) - mean) * scale + bias
        return torch.from_numpy(out)
