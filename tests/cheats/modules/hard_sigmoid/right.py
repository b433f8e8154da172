"""(x + 3) ÷ 6 between 0 and 1, element by element."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = [min(max(element + 3, 0), 6) / 6 for element in x.reshape(-1).tolist()]
        return torch.tensor(out).reshape(x.shape)
