"""A layer norm is a group norm of one group.

Source: own.
"""

import math

import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "delegates"


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    outer = input.shape[: input.dim() - len(normalized_shape)]
    rows, size = math.prod(outer), math.prod(normalized_shape)
    x = input.contiguous()
    y, mean, rstd = torch.native_group_norm(x, None, None, rows, 1, size, 1, eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    shape = (*outer, *[1] * len(normalized_shape))
    return y, mean.reshape(shape), rstd.reshape(shape)
