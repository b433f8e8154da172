"""1/n everywhere: for large n within any absolute tolerance of a softmax.

Source: robust-kbench (outputs of a small range are filtered).
"""

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "wrong"


def _softmax(self, dim, half_to_float):
    n = self.shape[dim] if self.dim() else 1
    return torch.full(self.shape, 1 / max(n, 1), dtype=self.dtype)
