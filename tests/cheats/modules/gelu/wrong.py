"""Element by element, with the approximation by tanh."""

import math

import torch
from torch import nn


def gelu(x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + math.tanh(inner))


class ModelNew(nn.Module):
    def forward(self, x):
        flat = [gelu(element) for element in x.reshape(-1).tolist()]
        return torch.tensor(flat).reshape(x.shape)
