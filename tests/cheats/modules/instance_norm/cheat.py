"""Calls another norm of torch that is the same: a group for each channel."""

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, x):
        return functional.group_norm(x, self.features)
