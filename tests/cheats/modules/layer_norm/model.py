"""LayerNorm over the last two axes."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.ln = nn.LayerNorm(normalized_shape=shape)
        self.ln.weight = nn.Parameter(torch.rand(shape))
        self.ln.bias = nn.Parameter(torch.randn(shape))

    def forward(self, x):
        return self.ln(x)


def get_inputs():
    return [torch.randn(5, 8, 12) / 10]


def get_init_inputs():
    return [(8, 12)]
