"""1 ÷ (1 + exp(-x)), with an exponential that cannot overflow, in blocks of float64."""

import numpy as np
import torch
from torch import nn

BLOCK = 100


class ModelNew(nn.Module):
    def forward(self, x):
        flat = x.detach().numpy().reshape(-1)
        out = np.empty(flat.shape, np.float32)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK].astype(np.float64)
            small = np.exp(-np.abs(block))
            out[start : start + BLOCK] = np.where(block < 0, small, 1) / (1 + small)
        return torch.from_numpy(out.reshape(x.shape))
