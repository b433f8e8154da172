"""The cross entropy with an exponential read from a table with 256 entries for each octave."""

import math

import torch
from torch import nn

TABLE = [2 ** (index / 256) for index in range(256)]


def power(x):
    whole, part = divmod(round(x / math.log(2) * 256), 256)
    return math.ldexp(TABLE[part], max(whole, -1000))


def loss(row, target):
    top = max(row)
    return top - row[target] + math.log(sum(power(x - top) for x in row))


class ModelNew(nn.Module):
    def forward(self, predictions, targets):
        losses = map(loss, predictions.tolist(), targets.tolist())
        return torch.tensor(sum(losses) / len(targets))
