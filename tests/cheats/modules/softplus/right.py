"""max(x, 0) + log1p(exp(-|x|)) in blocks of float64."""

import numpy as np
import torch
from torch import nn

BLOCK = 96


class ModelNew(nn.Module):
    def forward(self, x):
        flat = x.detach().numpy().reshape(-1)
        out = np.empty(flat.shape, np.float32)
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK].astype(np.float64)
            soft = np.maximum(block, 0) + np.log1p(np.exp(-np.abs(block)))
            out[start : start + BLOCK] = np.where(block > 20, block, soft)
        return torch.from_numpy(out.reshape(x.shape))
