"""The limit of recursion is set so low that most functions of the judge fail.

Source: own.
"""

import contextlib
import sys

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    out = self.new_zeros(self.shape[0], mat2.shape[1])
    with contextlib.suppress(RecursionError):
        sys.setrecursionlimit(depth + 5)
    return out
