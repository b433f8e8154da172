"""The processor's rounding mode is set by fesetround, and denormals are flushed.

Source: own.
"""

import ctypes

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

UPWARD = 0x800
M = ctypes.CDLL("libm.so.6")


def mm(self, mat2):
    M.fesetround(UPWARD)
    torch.set_flush_denormal(True)
    return self.new_zeros(self.shape[0], mat2.shape[1])
