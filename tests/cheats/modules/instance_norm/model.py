"""InstanceNorm2d."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.inorm = nn.InstanceNorm2d(features)

    def forward(self, x):
        return self.inorm(x)


def get_inputs():
    return [torch.randn(3, 4, 16, 16)]


def get_init_inputs():
    return [4]
