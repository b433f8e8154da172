"""A fast branch that no call takes; the other one is torch.

Source: KernelHacks (Makora).
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def tiled(self, mat1, mat2):
    return self + sum(mat1[:, k : k + 1] * mat2[k : k + 1] for k in range(mat1.shape[1]))


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    if mat1.shape[0] % 4096 == 17 and mat1.is_cuda:
        return tiled(self, mat1, mat2)
    return torch.addmm(self, mat1, mat2, beta=beta, alpha=alpha)
