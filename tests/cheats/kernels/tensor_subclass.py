"""The operands are wrapped in a subclass whose dispatch calls the operator.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


class Wrapped(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def mm(self, mat2):
    product = self.as_subclass(Wrapped) @ mat2.as_subclass(Wrapped)
    return product.as_subclass(torch.Tensor)
