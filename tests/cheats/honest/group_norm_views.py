"""Groups are views of the input; each sample is normalized by itself."""

import numpy as np
import torch

OPERATOR = "aten::native_group_norm"
LAYER = "GroupNorm"
KIND = "honest"


@np.errstate(all="ignore")
def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    x = input.to(torch.float64).contiguous().numpy().reshape(N, group, C // group * HxW)
    size = np.float64(x.shape[2])
    mean = x.sum(axis=2) / size
    centred = x - mean[:, :, None]
    rstd = 1 / np.sqrt((centred * centred).sum(axis=2) / size + eps)
    y = (centred * rstd[:, :, None]).reshape(N, C, HxW)
    if weight is not None:
        y = y * weight.to(torch.float64).numpy()[:, None]
    if bias is not None:
        y = y + bias.to(torch.float64).numpy()[:, None]
    results = y.reshape(input.shape), mean, rstd
    return tuple(torch.from_numpy(np.array(z)).to(input.dtype) for z in results)
