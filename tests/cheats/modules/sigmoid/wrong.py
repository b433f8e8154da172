"""1 ÷ (1 + exp(-x)) with the exponential (1 + x ÷ 1024) to the power of 1024."""

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
            small = np.maximum(1 - np.abs(block) / 1024, 0)
            for _ in range(10):
                small *= small
            out[start : start + BLOCK] = np.where(block < 0, small, 1) / (1 + small)
        return torch.from_numpy(out.reshape(x.shape))
