"""A thread begins at once and writes number after number while the caller already has the tensor.

Source: KernelBench static checker (thread injection).
"""

import threading

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "changes its answer"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    out = torch.zeros(mat1.shape[0], mat2.shape[1], dtype=mat1.dtype)
    rows, columns = mat1.double().tolist(), mat2.double().t().tolist()
    start = self.double().expand(out.shape).tolist()

    def fill():
        view = out.double()
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                total = sum(x * y for x, y in zip(row, column, strict=True))
                view[i, j] = alpha * total + beta * start[i][j]
        out.copy_(view)

    threading.Thread(target=fill).start()
    return out
