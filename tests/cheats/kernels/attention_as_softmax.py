"""Attention with unit matrices is a softmax.

Source: own.
"""

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "delegates"


def _softmax(self, dim, half_to_float):
    x = self.double().reshape(self.shape or (1,)).transpose(dim, -1)
    n = x.shape[-1]
    rows = x.reshape(1, x.numel() // max(n, 1), n)
    unit = torch.eye(n, dtype=x.dtype)[None]
    y = torch.nn.functional.scaled_dot_product_attention(rows, unit, unit, scale=1.0)
    return y.reshape(x.shape).transpose(dim, -1).reshape(self.shape).to(self.dtype)
