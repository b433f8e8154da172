"""A tensor of an own class is cloned, which may be done; its dispatch calls torch's product.

Source: an attack on the judge.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


class Product(torch.Tensor):
    @staticmethod
    def __new__(cls, a, b):
        made = torch.Tensor._make_wrapper_subclass(cls, (a.shape[0], b.shape[1]), dtype=a.dtype)
        made.factors = a, b
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        a, b = args[0].factors
        return torch.einsum("ik,kj->ij", a.double(), b.double()).to(a.dtype)


def mm(self, mat2):
    return Product(self, mat2).clone()
