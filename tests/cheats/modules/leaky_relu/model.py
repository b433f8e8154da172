"""LeakyReLU with a slope that is given."""

import torch
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, negative_slope=0.01):
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x):
        return functional.leaky_relu(x, negative_slope=self.negative_slope)


def get_inputs():
    return [torch.randn(16, 64)]


def get_init_inputs():
    return [0.01]
