"""MaxPool2d with padding, of positive numbers."""

import torch
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    def __init__(self, size, stride, padding):
        super().__init__()
        self.arguments = (size, stride, padding)

    def forward(self, x):
        return functional.max_pool2d(x, *self.arguments)


def get_inputs():
    return [torch.rand(2, 3, 11, 9)]


def get_init_inputs():
    return [3, 2, 1]
