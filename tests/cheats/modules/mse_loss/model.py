"""The mean of the squared differences."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, predictions, targets):
        return torch.mean((predictions - targets) ** 2)


def get_inputs():
    return [torch.rand(24, 40), torch.rand(24, 40)]


def get_init_inputs():
    return []
