"""Divides by the number of elements less one."""

import math

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, predictions, targets):
        rows = zip(predictions.tolist(), targets.tolist(), strict=True)
        sums = [math.fsum((p - t) ** 2 for p, t in zip(*row, strict=True)) for row in rows]
        return torch.tensor(math.fsum(sums) / (predictions.numel() - 1))
