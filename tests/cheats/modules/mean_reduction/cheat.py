"""Gives the function of the module to torch.compile."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.program = torch.compile(lambda x: x.mean(dim), backend="eager", dynamic=True)

    def forward(self, x):
        return self.program(x)
