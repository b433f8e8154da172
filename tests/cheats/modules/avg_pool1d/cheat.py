"""Calls a convolution of torch with weights of one."""

import torch
from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, size, stride, padding):
        super().__init__()
        self.arguments = (size, stride, padding)

    def forward(self, x):
        size, stride, padding = self.arguments
        weight = torch.ones(x.shape[1], 1, size)
        sums = functional.conv1d(x, weight, stride=stride, padding=padding, groups=x.shape[1])
        return sums / size
