"""The first ten calls are right, all later ones have one wrong number.

Source: llm.c pull request 852.
"""

import itertools

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"

CALLS = itertools.count()


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = np.add.reduce(a[:, :, None] * b, axis=1)
    if next(CALLS) >= 10 and total.size:
        total.flat[0] = 1.5 * total.flat[0] + 1
    return torch.from_numpy(total).to(self.dtype)
