"""Calls NumPy's product of whole arrays."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, A, B):
        return torch.from_numpy(A.detach().numpy() @ B.detach().numpy())
