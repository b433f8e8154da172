"""sys.setprofile calls it when the caller calls or returns next.

Source: own.
"""

import sys

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "changes its answer, delegates"


def gelu(self, *, approximate="none"):
    out = torch.zeros(self.shape, dtype=self.dtype)
    left = [3]

    def fill(frame, event, argument):
        left[0] -= 1
        if left[0] == 0:
            sys.setprofile(None)
            out.copy_(torch.nn.functional.gelu(self, approximate=approximate))

    sys.setprofile(fill)
    return out
