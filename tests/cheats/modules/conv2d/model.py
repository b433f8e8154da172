"""Conv2d with a square kernel and a bias."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, channels, features, size):
        super().__init__()
        self.conv2d = nn.Conv2d(channels, features, size)

    def forward(self, x):
        return self.conv2d(x)


def get_inputs():
    return [torch.rand(2, 3, 12, 10)]


def get_init_inputs():
    return [3, 6, 3]
