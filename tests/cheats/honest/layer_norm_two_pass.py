"""Mean, then the mean of squared distances, in float64; the scale and the shift come last."""

import math

import numpy as np
import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "honest"


@np.errstate(all="ignore")
def native_layer_norm(input, normalized_shape, weight, bias, eps):
    outer = tuple(input.shape[: input.dim() - len(normalized_shape)])
    size = math.prod(normalized_shape)
    x = input.to(torch.float64).numpy().reshape(math.prod(outer), size)
    mean = x.sum(axis=1, keepdims=True) / np.float64(size)
    centred = x - mean
    rstd = 1 / np.sqrt((centred * centred).sum(axis=1, keepdims=True) / np.float64(size) + eps)
    y = (centred * rstd).reshape(input.shape)
    if weight is not None:
        y = y * weight.to(torch.float64).numpy()
    if bias is not None:
        y = y + bias.to(torch.float64).numpy()
    shape = outer + (1,) * len(normalized_shape)
    results = y, mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(np.array(z)).to(input.dtype) for z in results)
