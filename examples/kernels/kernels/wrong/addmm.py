"""aten::addmm that takes whole tiles only: what is beyond the last whole one of 32 is dropped."""

import torch

TILE = 32


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    compute_dtype = torch.float64 if mat1.dtype == torch.float64 else torch.float32
    a, b, c = (x.to(compute_dtype).numpy() for x in (mat1, mat2, self))
    full_size = max(mat1.shape[1] // TILE, 1) * TILE
    result = alpha * (a[:, :full_size] @ b[:full_size]) + beta * c
    return torch.from_numpy(result).to(mat1.dtype)
