"""Stride, dilation and groups are ignored where the shape still comes out: values of the plain
convolution are cut or repeated to fit.

Source: own.
"""

import numpy as np
import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv1d"
KIND = "wrong"


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed or input.dim() != 3:
        raise conformance.Unsupported("setting")
    p, k = padding[0], weight.shape[2]
    size = (input.shape[2] + 2 * p - dilation[0] * (k - 1) - 1) // stride[0] + 1
    x = np.pad(input.to(torch.float64).numpy(), [(0, 0), (0, 0), (p, p)])[:, : weight.shape[1]]
    w = weight.to(torch.float64).numpy()
    out = np.zeros((x.shape[0], w.shape[0], size))
    for t in range(size):
        window = x[:, None, :, t : t + k]
        out[:, :, t] = (window * w[None, :, :, : window.shape[3]]).sum(axis=(2, 3))
    if bias is not None:
        out += bias.to(torch.float64).numpy()[:, None]
    return torch.from_numpy(out).to(input.dtype)
