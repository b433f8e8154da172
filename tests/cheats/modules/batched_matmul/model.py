"""Products of matrices, one for each row of the batch."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, A, B):
        return torch.bmm(A, B)


def get_inputs():
    return [torch.randn(4, 12, 48), torch.randn(4, 48, 10)]


def get_init_inputs():
    return []
