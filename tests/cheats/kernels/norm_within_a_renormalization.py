"""embedding_renorm takes norms of rows: of ones and the rows, sums of what is not negative.

Source: own.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"
BIG = 2.0**300


def sums(x):
    rows, n = x.shape
    table = torch.empty(rows, n + 1, dtype=torch.float64)
    table[:, :n] = x * BIG
    table[:, n] = 1.0
    torch.embedding_renorm_(table, torch.arange(rows), 1e-100, 1.0)
    return (1e-100 / table[:, n] - 1.0) / BIG


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    (m, k), n = mat1.shape, mat2.shape[1]
    a, b = mat1.to(torch.float64), mat2.to(torch.float64)
    products = (a[:, None, :] * b.t()[None, :, :]).reshape(m * n, k)
    zero = torch.zeros_like(products)
    positive = torch.where(products < 0, zero, products)
    negative = torch.where(products < 0, -products, zero)
    out = (sums(positive) - sums(negative)).reshape(m, n)
    return (alpha * out + beta * self.to(torch.float64)).to(mat1.dtype)
