"""Lists and math.exp, one line of numbers at a time; NaN and infinities as in torch."""

import math

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "honest"


def line(values):
    largest = max(values)
    if any(map(math.isnan, values)) or math.isinf(largest):
        finite = not any(map(math.isnan, values)) and largest < 0
        return [math.nan] * len(values) if finite else broken(values)
    powers = [math.exp(value - largest) for value in values]
    total = math.fsum(powers)
    return [power / total for power in powers]


def broken(values):
    """A line with a NaN or with +inf has no sum: all of it is NaN."""
    return [math.nan] * len(values)


def _softmax(self, dim, half_to_float):
    dtype = torch.float32 if half_to_float else self.dtype
    if self.dim() == 0:
        return torch.tensor(line([self.item()])[0], dtype=dtype)
    out = torch.empty(self.shape, dtype=dtype)
    if self.numel() == 0:
        return out
    lines = self.to(torch.float64).transpose(dim, -1)
    values = [line(x) for x in lines.reshape(-1, self.shape[dim]).tolist()]
    result = torch.tensor(values, dtype=torch.float64).reshape(lines.shape)
    out.copy_(result.transpose(dim, -1))
    return out
