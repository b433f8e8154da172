"""Rows are shared between two threads of its own, which end before the call does."""

import threading

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"


def rows(a, b, out, which):
    with np.errstate(all="ignore"):
        for i in which:
            out[i] = np.add.reduce(a[i][:, None] * b, axis=0)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b, c = (x.to(torch.float64).numpy() for x in (mat1, mat2, self))
    out = np.zeros((a.shape[0], b.shape[1]))
    workers = [
        threading.Thread(target=rows, args=(a, b, out, range(first, a.shape[0], 2)))
        for first in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with np.errstate(all="ignore"):
        result = alpha * out if beta == 0 else alpha * out + beta * c
    return torch.from_numpy(np.array(result)).to(mat1.dtype)
