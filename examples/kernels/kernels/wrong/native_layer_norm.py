"""aten::native_layer_norm in one pass: E[x²] − E[x]² cancels where the mean is large."""

import math

import numpy as np
import torch


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    compute_dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
    row_shape = tuple(input.shape[: input.dim() - len(normalized_shape)])
    x = input.to(compute_dtype).numpy().reshape(math.prod(row_shape), math.prod(normalized_shape))
    mean = x.mean(axis=1, keepdims=True)
    variance = (x * x).mean(axis=1, keepdims=True) - mean * mean
    rstd = 1 / np.sqrt(variance + x.dtype.type(eps))
    y = ((x - mean) * rstd).reshape(input.shape)
    if weight is not None:
        y = y * weight.to(compute_dtype).numpy()
    if bias is not None:
        y = y + bias.to(compute_dtype).numpy()
    shape = row_shape + (1,) * len(normalized_shape)
    results = y, mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(np.ascontiguousarray(z)).to(input.dtype) for z in results)
