"""It reads address 0 when it has been called often enough: a judge may lose what it knew.

Source: own.
"""

import ctypes
import itertools

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

CALLS = itertools.count()


def mm(self, mat2):
    if next(CALLS) == 3:
        ctypes.string_at(0)
    return self.new_zeros(self.shape[0], mat2.shape[1])
