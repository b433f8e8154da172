"""Numbers are packed by struct and held in arrays of the standard library, without NumPy. What is
too large for that is declined.
"""

import array
import struct

import torch

import conformance

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"


def numbers(x):
    values = x.to(torch.float64).reshape(-1).tolist()
    return array.array("d", struct.pack(f"{len(values)}d", *values))


def mm(self, mat2):
    (m, k), n = self.shape, mat2.shape[1]
    if m * k * n > 50_000:
        raise conformance.Unsupported("size")
    a, b = numbers(self), numbers(mat2.t())
    out = array.array("d")
    for i in range(m):
        row = a[i * k : (i + 1) * k]
        for j in range(n):
            column = b[j * k : (j + 1) * k]
            out.append(sum((x * y for x, y in zip(row, column, strict=True)), 0.0))
    return torch.tensor(out.tolist(), dtype=torch.float64).reshape(m, n).to(self.dtype)
