"""The product of a transposed matrix and another one."""

import torch
from torch import nn

K, M, N = 36, 20, 24


class Model(nn.Module):
    def forward(self, A, B):
        return torch.matmul(A.T, B)


def get_inputs():
    return [torch.randn(K, M), torch.randn(K, N)]


def get_init_inputs():
    return []
