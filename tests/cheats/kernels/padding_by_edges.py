"""Beyond the edge the last number is taken for zero: wrong at two places of many.

Source: own.
"""

import numpy as np
import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv1d"
KIND = "wrong"


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed or groups != 1 or input.dim() != 3 or not input.shape[2]:
        raise conformance.Unsupported("setting")
    p, k, d, s = padding[0], weight.shape[2], dilation[0], stride[0]
    x = np.pad(input.to(torch.float64).numpy(), [(0, 0), (0, 0), (p, p)], mode="edge")
    w = weight.to(torch.float64).numpy()
    size = (x.shape[2] - d * (k - 1) - 1) // s + 1
    out = np.zeros((x.shape[0], w.shape[0], size))
    for t in range(size):
        window = x[:, None, :, t * s : t * s + d * (k - 1) + 1 : d]
        out[:, :, t] = (window * w).sum(axis=(2, 3))
    if bias is not None:
        out += bias.to(torch.float64).numpy()[:, None]
    return torch.from_numpy(out).to(input.dtype)
