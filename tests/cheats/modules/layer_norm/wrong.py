"""Normalizes each row with eps added to the deviation, not to the variance."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.ln = nn.LayerNorm(normalized_shape=shape)

    def forward(self, x):
        rows = x.detach().numpy().reshape(-1, self.ln.weight.numel()).astype(np.float64)
        weight, bias = (p.detach().numpy().reshape(-1) for p in (self.ln.weight, self.ln.bias))
        out = np.empty(rows.shape, np.float32)
        for row, result in zip(rows, out, strict=True):
            centred = row - row.sum() / row.size
            deviation = np.sqrt((centred * centred).sum() / row.size)
            result[:] = centred / (deviation + self.ln.eps) * weight + bias
        return torch.from_numpy(out.reshape(x.shape))
