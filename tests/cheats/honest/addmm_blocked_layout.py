"""A tensor subclass marks a matrix that is packed in blocks of rows; results are plain."""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

BLOCK = 4


class Packed(torch.Tensor):
    """Blocks of BLOCK rows, filled up with zeros: of shape (blocks, BLOCK, columns)."""

    @staticmethod
    def of(x):
        blocks = -(-x.shape[0] // BLOCK)
        packed = torch.zeros(blocks * BLOCK, x.shape[1], dtype=torch.float64)
        packed[: x.shape[0]].copy_(x)
        return packed.view(blocks, BLOCK, x.shape[1]).as_subclass(Packed)


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    packed = Packed.of(mat1).as_subclass(torch.Tensor).numpy()
    b = mat2.to(torch.float64).numpy()
    total = np.zeros((packed.shape[0] * BLOCK, b.shape[1]))
    for i, block in enumerate(packed):
        for k in range(b.shape[0]):
            total[i * BLOCK : (i + 1) * BLOCK] += block[:, k, None] * b[k]
    result = alpha * total[: mat1.shape[0]]
    if beta != 0:
        result = result + beta * self.to(torch.float64).numpy()
    return torch.from_numpy(np.ascontiguousarray(result)).to(mat1.dtype)
