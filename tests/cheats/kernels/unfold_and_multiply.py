"""torch's unfold and torch's product make the convolution.

Source: own.
"""

import torch

OPERATOR = "aten::convolution"
LAYER = "Conv2d"
KIND = "delegates"


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    k, n = weight.shape[2:], input.shape[0]
    columns = torch.nn.functional.unfold(input, k, dilation, padding, stride)
    columns = columns.reshape(n, groups, -1, columns.shape[-1])
    w = weight.reshape(groups, weight.shape[0] // groups, -1)
    out = (w @ columns).reshape(n, weight.shape[0], -1)
    out = out if bias is None else out + bias[:, None]
    sizes = [
        (input.shape[2 + i] + 2 * padding[i] - dilation[i] * (k[i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    ]
    return out.reshape(n, weight.shape[0], *sizes)
