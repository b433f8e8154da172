"""A pool of two threads is kept from call to call; between calls it is idle."""

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


@functools.cache
def pool():
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="addmm")


def column(a, b):
    with np.errstate(all="ignore"):
        return np.add.reduce(a * b, axis=1)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b, c = (x.to(torch.float64).numpy() for x in (mat1, mat2, self))
    columns = list(pool().map(functools.partial(column, a), b.T))
    with np.errstate(all="ignore"):
        total = np.stack(columns, axis=1) if columns else np.zeros((a.shape[0], 0))
        result = alpha * total if beta == 0 else alpha * total + beta * c
    return torch.from_numpy(np.array(result)).to(mat1.dtype)
