"""Calls the operator through torch.ops."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, A, B):
        return torch.ops.aten.mm.default(A, B)
