"""An answer of 2**60 numbers on one byte pattern of memory (stride 0), for a judge that copies
before it looks.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    return torch.zeros(1, dtype=self.dtype).expand(1 << 30, 1 << 30)
