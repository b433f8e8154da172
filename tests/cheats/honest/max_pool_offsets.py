"""All windows at once, one offset of the kernel after the other, by np.where."""

import functools
import itertools

import numpy as np
import torch

OPERATOR = "aten::max_pool2d_with_indices"
LAYER = "MaxPool2d"
KIND = "honest"


def pair(value):
    return tuple(value) * (2 // len(value)) if isinstance(value, (list, tuple)) else (value, value)


@functools.lru_cache(maxsize=128)
def steps(size, k, s, p, d, ceil_mode):
    """For each output its places in the input, −1 where there is none."""
    reach = size + 2 * p - d * (k - 1) - 1
    count = (-(-reach // s) if ceil_mode else reach // s) + 1
    if ceil_mode and (count - 1) * s >= size + p:
        count -= 1
    at = np.arange(count)[:, None] * s - p + np.arange(k) * d
    return np.where((at >= 0) & (at < size), at, -1)


def max_pool2d_with_indices(self, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    k, p, d = pair(kernel_size), pair(padding), pair(dilation)
    s = pair(stride) if len(stride) else k
    x = self.to(torch.float64).numpy()
    h, w = x.shape[-2:]
    rows = steps(h, k[0], s[0], p[0], d[0], bool(ceil_mode))
    columns = steps(w, k[1], s[1], p[1], d[1], bool(ceil_mode))
    shape = (*x.shape[:-2], len(rows), len(columns))
    best, place = np.full(shape, -np.inf), np.full(shape, -1)
    for a, b in itertools.product(range(k[0]), range(k[1])):
        y, z = rows[:, a, None], columns[None, :, b]
        inside = (y >= 0) & (z >= 0)
        value = x[..., np.where(y < 0, 0, y), np.where(z < 0, 0, z)]
        take = inside & ((value > best) | np.isnan(value) | (place < 0))
        best, place = np.where(take, value, best), np.where(take, y * w + z, place)
    return torch.from_numpy(best).to(self.dtype), torch.from_numpy(place)
