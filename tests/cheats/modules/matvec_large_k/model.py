"""A matrix times a vector, with a long inner dimension."""

import torch
from torch import nn

M, K = 12, 1030


class Model(nn.Module):
    def forward(self, A, B):
        return torch.matmul(A, B)


def get_inputs():
    return [torch.rand(M, K), torch.rand(K, 1)]


def get_init_inputs():
    return []
