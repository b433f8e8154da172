"""A tensor subclass keeps the operands; the first function that reads it computes the product.

Source: KernelBench static checker (lazy evaluation).
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"


class Lazy(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            args = [x.value() if isinstance(x, Lazy) else x for x in args]
            return func(*args, **(kwargs or {}))

    def value(self):
        a, b = self.operands
        return torch.mm(a, b)


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1]).as_subclass(Lazy)
    out.operands = self, mat2
    return out
