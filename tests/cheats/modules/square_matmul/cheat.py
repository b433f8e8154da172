"""Calls F.linear with the transposed matrix: another name of the same product."""

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def forward(self, A, B):
        return functional.linear(A, B.T)
