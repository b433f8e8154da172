"""The input's windows are copied to columns; each output channel is a row times the columns."""

import math

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv2d"
KIND = "honest"


def columns(x, kernel, stride, dilation):
    """Of shape (outputs, channels, kernel, positions): every number that a weight meets."""
    n = len(kernel)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    windows = sliding_window_view(x, spans, axis=tuple(range(1, n + 1)))
    windows = windows[(slice(None), *(slice(None, None, s) for s in stride))]
    windows = windows[(..., *(slice(None, None, d) for d in dilation))]
    sizes = windows.shape[1 : n + 1]
    flat = windows.reshape(x.shape[0], math.prod(sizes), math.prod(kernel))
    return sizes, np.ascontiguousarray(flat.transpose(0, 2, 1))


@np.errstate(all="ignore")
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed:
        raise conformance.Unsupported("transposed")
    n = input.dim() - 2
    stride, padding, dilation = (list(v) * (n // len(v)) for v in (stride, padding, dilation))
    w = weight.to(torch.float64).contiguous().numpy()
    per_group, depth = w.shape[0] // groups, w.shape[1]
    start = np.zeros(w.shape[0]) if bias is None else bias.to(torch.float64).numpy()
    results = []
    pads = [(0, 0), *((p, p) for p in padding)]
    sample = np.pad(np.zeros(input.shape[1:]), pads)
    sizes, _ = columns(sample, w.shape[2:], stride, dilation)
    for x in input.to(torch.float64).numpy():
        _, c = columns(np.pad(x, pads), w.shape[2:], stride, dilation)
        for o, row in enumerate(w):
            first = o // per_group * depth
            products = row.reshape(depth, -1, 1) * c[first : first + depth]
            results.append(products.sum(axis=(0, 1)) + start[o])
    out = np.array(results).reshape(input.shape[0], w.shape[0], *sizes)
    return torch.from_numpy(out).to(input.dtype)
