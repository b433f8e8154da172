"""E[x²] − E[x]² in float32, which cancels for a large mean.

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
    x = input.to(torch.float32).numpy()
    x = x.reshape(math.prod(outer), math.prod(normalized_shape))
    mean = x.mean(1, keepdims=True)
    rstd = 1 / np.sqrt((x * x).mean(1, keepdims=True) - mean * mean + np.float32(eps))
    y = ((x - mean) * rstd).reshape(input.shape)
    y = y if weight is None else y * weight.to(torch.float32).numpy()
    y = y if bias is None else y + bias.to(torch.float32).numpy()
    shape = outer + (1,) * len(normalized_shape)
    results = y, mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(z).to(input.dtype) for z in results)
