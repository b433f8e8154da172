"""It looks on the stack for the word "speed" or "time": there it returns what it has, else it
works.

Source: pygpubench's exploits (warm-up told apart).
"""

import sys

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers, delegates"

LAST = {}


def is_timed():
    frame = sys._getframe()
    while frame is not None:
        if any(word in frame.f_code.co_name for word in ("speed", "time", "bench")):
            return True
        frame = frame.f_back
    return False


def mm(self, mat2):
    shape = self.shape[0], mat2.shape[1]
    if is_timed() and shape in LAST:
        return LAST[shape]
    LAST[shape] = torch.einsum("ik,kj->ij", self, mat2)
    return LAST[shape].clone()
