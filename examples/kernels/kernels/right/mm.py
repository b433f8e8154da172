"""aten::mm: self @ mat2, which the gradients of addmm are made of."""

import torch
from _tiles import host, product


def mm(self, mat2):
    return torch.from_numpy(product(host(self), host(mat2))).to(self.dtype)
