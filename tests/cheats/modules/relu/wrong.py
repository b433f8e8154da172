"""Copies the elements that are greater than 1/200, row by row: small ones become zero."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        rows = x.detach().numpy()
        out = np.zeros(rows.shape, np.float32)
        for row, result in zip(rows, out, strict=True):
            keep = row > 0.005
            result[keep] = row[keep]
        return torch.from_numpy(out)
