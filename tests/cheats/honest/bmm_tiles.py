"""Each matrix of the batch in tiles of 16."""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "honest"

TILE = 16


@np.errstate(all="ignore")
def bmm(self, mat2):
    left, right = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    total = np.zeros((left.shape[0], left.shape[1], right.shape[2]))
    for a, b, c in zip(left, right, total, strict=True):
        for k in range(0, a.shape[1], TILE):
            for i in range(0, a.shape[0], TILE):
                for j in range(0, b.shape[1], TILE):
                    tile = a[i : i + TILE, k : k + TILE] @ b[k : k + TILE, j : j + TILE]
                    c[i : i + TILE, j : j + TILE] += tile
    return torch.from_numpy(total).to(self.dtype)
