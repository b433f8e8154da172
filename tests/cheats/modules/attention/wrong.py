"""Attention whose scale 1 ÷ √d has two digits."""

import math

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, Q, K, V):
        q, k, v = (t.detach().numpy().astype(np.float64) for t in (Q, K, V))
        scale = float(f"{1 / math.sqrt(q.shape[-1]):.2g}")
        out = np.empty((*q.shape[:-1], v.shape[-1]), np.float32)
        for index in np.ndindex(q.shape[:-1]):
            head = index[:-1]
            scores = (k[head] * q[index]).sum(axis=1) * scale
            powers = np.exp(scores - scores.max())
            out[index] = (powers[:, None] * v[head]).sum(axis=0) / powers.sum()
        return torch.from_numpy(out)
