"""The tensor that was returned gets another storage afterwards, by a thread that waits a moment.

Source: own.
"""

import threading

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "changes its answer"


def _softmax(self, dim, half_to_float):
    out = torch.zeros(self.shape, dtype=self.dtype)
    x = self.detach().clone()

    def swap():
        out.set_(torch.softmax(x, dim))

    threading.Timer(0.001, swap).start()
    return out
