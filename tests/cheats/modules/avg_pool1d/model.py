"""AvgPool1d with padding."""

import torch
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, size, stride, padding):
        super().__init__()
        self.arguments = (size, stride, padding)

    def forward(self, x):
        return functional.avg_pool1d(x, *self.arguments)


def get_inputs():
    return [torch.rand(3, 5, 40)]


def get_init_inputs():
    return [7, 2, 3]
