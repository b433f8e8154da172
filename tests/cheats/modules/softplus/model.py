"""Softplus."""

import torch
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    def forward(self, x):
        return functional.softplus(x)


def get_inputs():
    return [3 * torch.randn(16, 64)]


def get_init_inputs():
    return []
