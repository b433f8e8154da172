"""A wrapper subclass has a shape and no memory; its dispatch computes when anyone reads it.

Source: reference-kernels issue 162 (lazy output).
"""

import torch
from torch.utils._pytree import tree_map

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "changes its answer"


class Promise(torch.Tensor):
    @staticmethod
    def __new__(cls, x, dim):
        return torch.Tensor._make_wrapper_subclass(cls, x.shape, dtype=x.dtype)

    def __init__(self, x, dim):
        self.call = x, dim

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def real(x):
            return torch.softmax(*x.call) if isinstance(x, Promise) else x

        return func(*tree_map(real, args), **tree_map(real, kwargs or {}))


def _softmax(self, dim, half_to_float):
    return Promise(self, dim)
