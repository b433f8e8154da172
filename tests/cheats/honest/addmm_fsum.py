"""Plain Python: math.fsum adds the products exactly; it refuses infinities, which sum() takes.
What is too large for plain Python is declined.
"""

import math

import torch

import conformance

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


def added(terms):
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return sum(terms)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    shape = mat1.shape[0], mat2.shape[1]
    if mat1.numel() * mat2.shape[1] > 50_000:
        raise conformance.Unsupported("size")
    columns = mat2.to(torch.float64).t().tolist()
    start = iter(self.to(torch.float64).expand(shape).reshape(-1).tolist())
    values = []
    for row in mat1.to(torch.float64).tolist():
        for column in columns:
            value = alpha * added([x * y for x, y in zip(row, column, strict=True)])
            first = next(start)
            values.append(value if beta == 0 else value + beta * first)
    return torch.tensor(values, dtype=torch.float64).reshape(shape).to(mat1.dtype)
