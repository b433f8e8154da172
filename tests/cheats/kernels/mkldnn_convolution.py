"""The convolution of a library by its own name in torch.

Source: own.
"""

import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv2d"
KIND = "delegates"


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed or input.dtype == torch.float64:
        raise conformance.Unsupported("setting")
    return torch.ops.aten.mkldnn_convolution(input, weight, bias, padding, stride, dilation, groups)
