"""Transposed convolutions: each input number is spread over the outputs that it reaches."""

import numpy as np
import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "ConvTranspose1d"
KIND = "honest"


@np.errstate(all="ignore")
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if not transposed:
        raise conformance.Unsupported("not transposed")
    n = input.dim() - 2
    settings = (stride, padding, dilation, output_padding)
    stride, padding, dilation, extra = (list(v) * (n // len(v)) for v in settings)
    x, w = input.to(torch.float64).numpy(), weight.to(torch.float64).numpy()
    kernel, spatial = w.shape[2:], x.shape[2:]
    full = [
        (spatial[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 + extra[i]
        for i in range(n)
    ]
    per_group, depth = w.shape[1], w.shape[0] // groups
    out = np.zeros((x.shape[0], per_group * groups, *full))
    for offset in np.ndindex(*kernel):
        places = tuple(
            slice(o * d, o * d + (size - 1) * s + 1, s)
            for o, d, size, s in zip(offset, dilation, spatial, stride, strict=True)
        )
        for c in range(w.shape[0]):
            g = c // depth
            rows = slice(g * per_group, (g + 1) * per_group)
            factor = w[(c, slice(None), *offset)].reshape(1, -1, *[1] * n)
            out[(slice(None), rows, *places)] += factor * x[:, c : c + 1]
    inner = tuple(slice(p, size - p) for p, size in zip(padding, full, strict=True))
    out = out[(slice(None), slice(None), *inner)]
    if bias is not None:
        out = out + bias.to(torch.float64).numpy().reshape(1, -1, *[1] * n)
    return torch.from_numpy(np.ascontiguousarray(out)).to(input.dtype)
