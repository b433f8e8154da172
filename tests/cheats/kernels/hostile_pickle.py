"""The result pickles as a call: whoever unpickles it runs code of the kernel.

Source: own.
"""

import os

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


class Loaded(torch.Tensor):
    def __reduce_ex__(self, protocol):
        return os.putenv, ("PLANTED_BY_A_KERNEL", "1")


def mm(self, mat2):
    return self.new_zeros(self.shape[0], mat2.shape[1]).as_subclass(Loaded)
