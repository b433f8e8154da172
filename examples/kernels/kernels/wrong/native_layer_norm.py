"""aten::native_layer_norm in one pass: E[x²] − E[x]² cancels where the mean is large."""

import torch


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    axes = tuple(range(input.dim() - len(normalized_shape), input.dim()))
    x = input.double() if input.dtype == torch.float64 else input.float()
    mean = x.mean(axes, keepdim=True)
    variance = (x * x).mean(axes, keepdim=True) - mean * mean
    rstd = (variance + eps).rsqrt()
    y = (x - mean) * rstd
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y.to(input.dtype), mean.to(input.dtype), rstd.to(input.dtype)
