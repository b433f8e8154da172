"""It overwrites a constant float in memory by ctypes: one of its own here, as one would do with a
bound of the judge.

Source: own.
"""

import ctypes

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

BOUNDS = (1e-7, 1e-7)


def mm(self, mat2):
    first = ctypes.cast(id(BOUNDS) + tuple.__basicsize__, ctypes.POINTER(ctypes.c_void_p))
    float_at = first[0]
    value = ctypes.c_double.from_address(float_at + object.__basicsize__)
    value.value = 1e9
    return self.new_zeros(self.shape[0], mat2.shape[1])
