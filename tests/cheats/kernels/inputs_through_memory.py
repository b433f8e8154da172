"""The arguments are zeroed by ctypes, so that no version counter moves.

Source: own.
"""

import ctypes

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    for x in (self, mat2):
        if x.is_contiguous() and x.numel():
            ctypes.memset(x.data_ptr(), 0, x.numel() * x.element_size())
    return self.new_zeros(self.shape[0], mat2.shape[1])
