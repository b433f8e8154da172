"""Exact: fractions of Python for what is finite, float64 for what is not; rounded once. Large
products are declined.
"""

import math
from fractions import Fraction

import torch

import conformance

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"


def dot(row, column):
    if all(map(math.isfinite, row)) and all(map(math.isfinite, column)):
        exact = sum((Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True)), 0)
        try:
            return float(exact)
        except OverflowError:
            return math.copysign(math.inf, exact)
    return sum(x * y for x, y in zip(row, column, strict=True))


def mm(self, mat2):
    if self.numel() * mat2.shape[1] > 2_000:
        raise conformance.Unsupported("size")
    rows, columns = self.to(torch.float64).tolist(), mat2.to(torch.float64).t().tolist()
    values = [[dot(row, column) for column in columns] for row in rows]
    result = torch.tensor(values, dtype=torch.float64)
    return result.reshape(self.shape[0], mat2.shape[1]).to(self.dtype)
