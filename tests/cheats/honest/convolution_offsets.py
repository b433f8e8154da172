"""One pass for each offset of the kernel and each input channel of a group."""

import numpy as np
import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv1d"
KIND = "honest"


@np.errstate(all="ignore")
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed:
        raise conformance.Unsupported("transposed")
    n = input.dim() - 2
    stride, padding, dilation = (list(v) * (n // len(v)) for v in (stride, padding, dilation))
    x, w = input.to(torch.float64).numpy(), weight.to(torch.float64).numpy()
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    kernel = w.shape[2:]
    sizes = [
        (x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(n)
    ]
    out = np.zeros((x.shape[0], w.shape[0], *sizes))
    per_group, depth = w.shape[0] // groups, w.shape[1]
    for offset in np.ndindex(*kernel):
        window = tuple(
            slice(o * d, o * d + (size - 1) * s + 1, s)
            for o, d, size, s in zip(offset, dilation, sizes, stride, strict=True)
        )
        for g in range(groups):
            rows = slice(g * per_group, (g + 1) * per_group)
            for c in range(depth):
                factor = w[(rows, c, *offset)].reshape(1, -1, *[1] * n)
                out[:, rows] += (
                    factor * x[(slice(None), slice(g * depth + c, g * depth + c + 1), *window)]
                )
    if bias is not None:
        out += bias.to(torch.float64).numpy().reshape(1, -1, *[1] * n)
    return torch.from_numpy(out).to(input.dtype)
