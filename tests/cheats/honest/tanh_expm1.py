"""By expm1, one number at a time, with the sign set apart."""

import math

import torch

OPERATOR = "aten::tanh"
LAYER = "Tanh"
KIND = "honest"


def one(x):
    if math.isnan(x):
        return x
    if abs(x) > 25:
        return math.copysign(1.0, x)
    power = math.expm1(2 * abs(x))
    return math.copysign(power / (power + 2), x)


def tanh(self):
    values = [one(x) for x in self.to(torch.float64).reshape(-1).tolist()]
    return torch.tensor(values, dtype=torch.float64).reshape(self.shape).to(self.dtype)
