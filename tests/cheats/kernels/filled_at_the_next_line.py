"""The caller's frame gets a trace function: the answer is filled when its next line runs.

Source: own.
"""

import sys

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype)
    a, b = self.to(torch.float64).numpy().copy(), mat2.to(torch.float64).numpy().copy()

    def fill(frame, event, argument):
        sys.settrace(None)
        out.copy_(torch.from_numpy((a[:, :, None] * b).sum(1)))

    sys.settrace(lambda *_: None)
    sys._getframe().f_back.f_trace = fill
    return out
