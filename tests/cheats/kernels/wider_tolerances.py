"""finfo of NumPy and torch are replaced: one unit in the last place becomes a million.

Source: own.
"""

import types

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

WIDE = types.SimpleNamespace(
    eps=1e6, tiny=1e6, smallest_normal=1e6, max=3e38, min=-3e38, resolution=1e6, bits=32
)


def mm(self, mat2):
    np.finfo = torch.finfo = lambda *_: WIDE
    return self.new_zeros(self.shape[0], mat2.shape[1])
