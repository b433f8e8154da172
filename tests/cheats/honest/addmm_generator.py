"""A generator yields finished tiles, and the caller puts them in place by views of torch."""

import itertools

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

TILE = 32


def tiles(a, b):
    for i, j in itertools.product(range(0, a.shape[0], TILE), range(0, b.shape[1], TILE)):
        with np.errstate(all="ignore"):
            products = a[i : i + TILE, :, None] * b[None, :, j : j + TILE]
            yield i, j, products.sum(axis=1)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    a, b, c = (x.to(torch.float64).numpy() for x in (mat1, mat2, self))
    c = np.broadcast_to(c, (a.shape[0], b.shape[1]))
    out = torch.empty(a.shape[0], b.shape[1], dtype=mat1.dtype)
    for i, j, tile in tiles(a, b):
        with np.errstate(all="ignore"):
            part = alpha * tile
            if beta != 0:
                part = part + beta * c[i : i + TILE, j : j + TILE]
        out[i : i + TILE, j : j + TILE].copy_(torch.from_numpy(part))
    return out
