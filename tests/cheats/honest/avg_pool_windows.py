"""Plain sums over each window, divided by what the settings say."""

import math

import numpy as np
import torch

OPERATOR = "aten::avg_pool2d"
LAYER = "AvgPool2d"
KIND = "honest"


def pair(value):
    return tuple(value) * (2 // len(value)) if isinstance(value, (list, tuple)) else (value, value)


def spans(size, k, s, p, ceil_mode):
    """For each output: first, end, and the width that counts padding."""
    reach = size + 2 * p - k
    count = (-(-reach // s) if ceil_mode else reach // s) + 1
    if ceil_mode and (count - 1) * s >= size + p:
        count -= 1
    for start in (i * s - p for i in range(count)):
        yield max(start, 0), min(start + k, size), min(start + k, size + p) - start


@np.errstate(all="ignore")
def avg_pool2d(
    self,
    kernel_size,
    stride=(),
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    k, p = pair(kernel_size), pair(padding)
    s = pair(stride) if len(stride) else k
    x = self.to(torch.float64).numpy()
    planes = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    rows = list(spans(x.shape[-2], k[0], s[0], p[0], ceil_mode))
    columns = list(spans(x.shape[-1], k[1], s[1], p[1], ceil_mode))
    out = np.empty((len(planes), len(rows), len(columns)))
    for i, (top, bottom, height) in enumerate(rows):
        for j, (left, right, width) in enumerate(columns):
            inside = (bottom - top) * (right - left)
            divisor = divisor_override or (height * width if count_include_pad else inside)
            out[:, i, j] = planes[:, top:bottom, left:right].sum(axis=(1, 2)) / divisor
    out = out.reshape(*x.shape[:-2], len(rows), len(columns))
    return torch.from_numpy(out).to(self.dtype)
