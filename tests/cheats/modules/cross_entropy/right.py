"""The logarithm of a sum for each row, less the logit of its class, in Python's numbers."""

import math

import torch
from torch import nn


def loss(row, target):
    top = max(row)
    return top - row[target] + math.log(math.fsum(math.exp(x - top) for x in row))


class ModelNew(nn.Module):
    def forward(self, predictions, targets):
        losses = map(loss, predictions.tolist(), targets.tolist())
        return torch.tensor(math.fsum(losses) / len(targets))
