"""A dataclass holds the call; a method computes a strip of four rows."""

from dataclasses import dataclass

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@dataclass(frozen=True, slots=True)
class Call:
    a: np.ndarray
    b: np.ndarray
    rows: int = 4

    def strips(self):
        for first in range(0, self.a.shape[0], self.rows):
            strip = self.a[first : first + self.rows]
            yield np.add.reduce(strip[:, :, None] * self.b, axis=1)


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    call = Call(mat1.to(torch.float64).numpy(), mat2.to(torch.float64).numpy())
    total = np.concatenate([np.zeros((0, call.b.shape[1])), *call.strips()])
    result = alpha * total
    if beta != 0:
        result = result + beta * self.to(torch.float64).numpy()
    return torch.from_numpy(result).to(mat1.dtype)
