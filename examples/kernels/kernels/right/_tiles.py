"""A matrix product in tiles of 32, as a kernel computes it."""

import numpy as np
import torch

TILE = 32


def host(x):
    """A tensor's numbers; those of half precision in float32, in which kernels add them up."""
    compute_dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.to(compute_dtype).numpy()


def product(a, b):
    """a @ b, each tile of the result from the tiles of a row and of a column."""
    (rows, depth), columns = a.shape, b.shape[1]
    result = np.zeros((rows, columns), a.dtype)
    for i in range(0, rows, TILE):
        for j in range(0, columns, TILE):
            tile = result[i : i + TILE, j : j + TILE]
            for k in range(0, depth, TILE):
                tile += a[i : i + TILE, k : k + TILE] @ b[k : k + TILE, j : j + TILE]
    return result
