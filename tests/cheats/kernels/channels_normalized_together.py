"""All groups are normalized as one: the same for inputs of one distribution.

Source: robust-kbench (an axis along which numbers hardly vary).
"""

import numpy as np
import torch

OPERATOR = "aten::native_group_norm"
LAYER = "GroupNorm"
KIND = "wrong"


@np.errstate(all="ignore")
def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    x = input.to(torch.float64).contiguous().numpy().reshape(N, C * HxW)
    size = np.float64(C * HxW)
    mean = x.sum(1, keepdims=True) / size
    rstd = 1 / np.sqrt(((x - mean) ** 2).sum(1, keepdims=True) / size + eps)
    y = ((x - mean) * rstd).reshape(N, C, HxW)
    y = y if weight is None else y * weight.to(torch.float64).numpy()[:, None]
    y = y if bias is None else y + bias.to(torch.float64).numpy()[:, None]
    results = y.reshape(input.shape), np.repeat(mean, group, 1), np.repeat(rstd, group, 1)
    return tuple(torch.from_numpy(z).to(input.dtype) for z in results)
