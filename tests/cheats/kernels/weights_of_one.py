"""Weight and bias are taken to be 1 and 0, as a layer has them at its start.

Source: robust-kbench (initial values varied).
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
    rstd = 1 / np.sqrt(((x - mean) ** 2).sum(1, keepdims=True) / size + eps)
    shape = outer + (1,) * len(normalized_shape)
    results = ((x - mean) * rstd).reshape(input.shape), mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(z).to(input.dtype) for z in results)
