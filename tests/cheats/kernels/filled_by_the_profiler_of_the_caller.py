"""The hook of sys.setprofile waits until the caller compares.

Source: own.
"""

import sys

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "wrong"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    out = torch.zeros(mat1.shape[0], mat2.shape[1], dtype=mat1.dtype)

    def fill(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "find_fault":
            sys.setprofile(None)
            out.copy_(torch.addmm(self, mat1, mat2, beta=beta, alpha=alpha))

    sys.setprofile(fill)
    return out
