"""1/σ without eps: right to four digits unless numbers are small or equal.

Source: own.
"""

import math

import numpy as np
import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "wrong"


@np.errstate(all="ignore")
def native_layer_norm(input, normalized_shape, weight, bias, eps):
    outer = tuple(input.shape[: input.dim() - len(normalized_shape)])
    size = np.float64(math.prod(normalized_shape))
    x = input.to(torch.float64).numpy().reshape(math.prod(outer), int(size))
    mean = x.sum(1, keepdims=True) / size
    rstd = 1 / np.sqrt(((x - mean) ** 2).sum(1, keepdims=True) / size)
    y = ((x - mean) * rstd).reshape(input.shape)
    y = y if weight is None else y * weight.to(torch.float64).numpy()
    y = y if bias is None else y + bias.to(torch.float64).numpy()
    shape = outer + (1,) * len(normalized_shape)
    results = y, mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(z).to(input.dtype) for z in results)
