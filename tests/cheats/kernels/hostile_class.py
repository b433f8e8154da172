"""The result is no tensor, but an object that claims to be one, and counts who reads it.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


class Claims:
    __class__ = torch.Tensor

    def __init__(self, out):
        self.out = out

    def __getattr__(self, name):
        return getattr(self.out, name)

    def __eq__(self, other):
        return True

    __hash__ = None


def mm(self, mat2):
    return Claims(self.new_zeros(self.shape[0], mat2.shape[1]))
