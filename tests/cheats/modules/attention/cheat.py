"""Calls torch for the scores and the softmax, and does the last product itself."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, Q, K, V):
        scores = torch.matmul(Q, K.transpose(-1, -2)) / Q.shape[-1] ** 0.5
        weights, v = torch.softmax(scores, dim=-1).numpy(), V.detach().numpy()
        out = sum(weights[..., i, None] * v[..., i, None, :] for i in range(v.shape[-2]))
        return torch.from_numpy(out)
