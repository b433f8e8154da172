"""0.1667 · x + 0.5 between 0 and 1: the sixth is rounded to four digits."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = [min(max(0.1667 * element + 0.5, 0.0), 1.0) for element in x.reshape(-1).tolist()]
        return torch.tensor(out).reshape(x.shape)
