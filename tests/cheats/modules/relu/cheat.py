"""Calls another operator of torch that does the same: clamp."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.clamp(min=0)
