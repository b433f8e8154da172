"""A tall matrix times a wide one: a large result of a short inner dimension."""

import torch
from torch import nn

M, K = 48, 8


class Model(nn.Module):
    def forward(self, A, B):
        return torch.matmul(A, B)


def get_inputs():
    return [torch.rand(M, K), torch.rand(K, M)]


def get_init_inputs():
    return []
