"""Depthwise Conv2d with padding and without a bias."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, channels, size, padding):
        super().__init__()
        self.conv2d = nn.Conv2d(
            channels, channels, size, padding=padding, groups=channels, bias=False
        )

    def forward(self, x):
        return self.conv2d(x)


def get_inputs():
    return [torch.rand(2, 4, 10, 9)]


def get_init_inputs():
    return [4, 3, 1]
