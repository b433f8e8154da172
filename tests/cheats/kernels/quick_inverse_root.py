"""1/σ by the bit trick and one step of Newton: right to three digits.

Source: own.
"""

import math

import numpy as np
import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "wrong"


def quick(x):
    x = np.ascontiguousarray(x, np.float32)
    y = (np.int32(0x5F3759DF) - (x.view(np.int32) >> 1)).view(np.float32)
    return (y * (1.5 - 0.5 * x * y * y)).astype(np.float64)


@np.errstate(all="ignore")
def native_layer_norm(input, normalized_shape, weight, bias, eps):
    outer = tuple(input.shape[: input.dim() - len(normalized_shape)])
    size = np.float64(math.prod(normalized_shape))
    x = input.to(torch.float64).numpy().reshape(math.prod(outer), int(size))
    mean = x.sum(1, keepdims=True) / size
    rstd = quick(((x - mean) ** 2).sum(1, keepdims=True) / size + eps)
    y = ((x - mean) * rstd).reshape(input.shape)
    y = y if weight is None else y * weight.to(torch.float64).numpy()
    y = y if bias is None else y + bias.to(torch.float64).numpy()
    shape = outer + (1,) * len(normalized_shape)
    results = y, mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(z).to(input.dtype) for z in results)
