"""BatchNorm2d with running statistics."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.bn = nn.BatchNorm2d(features)
        self.bn.running_mean = torch.randn(features)
        self.bn.running_var = 0.1 + torch.rand(features)

    def forward(self, x):
        return self.bn(x)


def get_inputs():
    return [torch.randn(4, 6, 7, 5)]


def get_init_inputs():
    return [6]
