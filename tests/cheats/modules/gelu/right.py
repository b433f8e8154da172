"""Element by element, with the error function of Python's math."""

import math

import torch
from torch import nn


def gelu(x):
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


class ModelNew(nn.Module):
    def forward(self, x):
        flat = [gelu(element) for element in x.reshape(-1).tolist()]
        return torch.tensor(flat).reshape(x.shape)
