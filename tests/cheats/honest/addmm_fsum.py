"""Plain Python: math.fsum adds the products exactly; it refuses infinities, which sum() takes."""

import math

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


def added(terms):
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return sum(terms)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    rows = mat1.to(torch.float64).tolist()
    columns = mat2.to(torch.float64).t().tolist()
    out = torch.empty(len(rows), len(columns), dtype=torch.float64)
    start = self.to(torch.float64).expand(out.shape).tolist()
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value = alpha * added([x * y for x, y in zip(row, column, strict=True)])
            out[i, j] = value if beta == 0 else value + beta * start[i][j]
    return out.to(mat1.dtype)
