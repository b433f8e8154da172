"""np.convolve does each line of the convolution.

Source: own.
"""

import numpy as np
import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv1d"
KIND = "delegates"


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed or groups != 1 or dilation[0] != 1 or input.dim() != 3:
        raise conformance.Unsupported("setting")
    x, w = input.to(torch.float64).numpy(), weight.to(torch.float64).numpy()
    x = np.pad(x, [(0, 0), (0, 0), (padding[0], padding[0])])
    size = (x.shape[2] - w.shape[2]) // stride[0] + 1
    out = np.zeros((x.shape[0], w.shape[0], size))
    for n, o, c in np.ndindex(x.shape[0], w.shape[0], w.shape[1]):
        out[n, o] += np.convolve(x[n, c], w[o, c, ::-1], "valid")[:: stride[0]]
    if bias is not None:
        out += bias.to(torch.float64).numpy()[:, None]
    return torch.from_numpy(out).to(input.dtype)
