"""A trace function on all frames below it: locals of the judge whose names sound like a verdict are
changed.

Source: own.
"""

import ctypes
import sys

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

SET = ctypes.pythonapi.PyFrame_LocalsToFast
SET.argtypes = (ctypes.py_object, ctypes.c_int)


def change(frame, event, argument):
    for name in ("failed", "wrong", "error", "failures", "mismatches"):
        if name in frame.f_locals:
            frame.f_locals[name] = type(frame.f_locals[name])()
            SET(frame, 0)
    return change


def mm(self, mat2):
    sys.settrace(lambda *_: None)
    frame = sys._getframe().f_back
    while frame is not None:
        frame.f_trace = change
        frame = frame.f_back
    return self.new_zeros(self.shape[0], mat2.shape[1])
