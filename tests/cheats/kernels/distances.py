"""Products are won back from squared distances: cdist does the sums.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    a, b = self.double(), mat2.double().t()
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None]
    return ((squares - torch.cdist(a, b).square()) / 2).to(self.dtype)
