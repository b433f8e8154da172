"""Calls torch.var_mean and arithmetic of torch, of which the norm consists."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features, groups):
        super().__init__()
        self.gn = nn.GroupNorm(groups, features)

    def forward(self, x):
        gn = self.gn
        groups = x.reshape(x.shape[0], gn.num_groups, -1)
        variance, mean = torch.var_mean(groups, dim=2, correction=0, keepdim=True)
        out = ((groups - mean) * (variance + gn.eps).rsqrt()).reshape(x.shape)
        return (out * gn.weight[:, None, None] + gn.bias[:, None, None]).detach()
