"""math.fsum: the exact sum, rounded once; infinities and overflow go to a plain loop."""

import math

import torch

import conformance

OPERATOR = "aten::sum"
LAYER = "L1Loss"
KIND = "honest"


def total(values):
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        result = 0.0
        for value in values:
            result += value
        return result


def sum(self, *, dtype=None):
    if not self.is_floating_point():
        raise conformance.Unsupported("whole numbers")
    dtype = dtype or self.dtype
    values = self.to(dtype).to(torch.float64).reshape(-1).tolist()
    return torch.tensor(total(values), dtype=torch.float64).to(dtype)
