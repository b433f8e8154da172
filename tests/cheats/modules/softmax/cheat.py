"""Calls other operators of torch, of which softmax consists."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        powers = (x - x.amax(dim=1, keepdim=True)).exp()
        return powers / powers.sum(dim=1, keepdim=True)
