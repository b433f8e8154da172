"""Plain loops over the windows; of equal numbers the first wins, and a NaN always."""

import math

import torch

OPERATOR = "aten::max_pool2d_with_indices"
LAYER = "MaxPool2d"
KIND = "honest"


def pair(value):
    return tuple(value) * (2 // len(value)) if isinstance(value, (list, tuple)) else (value, value)


def out_size(size, k, s, p, d, ceil_mode):
    reach = size + 2 * p - d * (k - 1) - 1
    count = (-(-reach // s) if ceil_mode else reach // s) + 1
    return count - 1 if ceil_mode and (count - 1) * s >= size + p else count


def max_pool2d_with_indices(self, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    k, p, d = pair(kernel_size), pair(padding), pair(dilation)
    s = pair(stride) if len(stride) else k
    h, w = self.shape[-2:]
    sizes = [out_size(n, k[i], s[i], p[i], d[i], ceil_mode) for i, n in enumerate((h, w))]
    values, places = [], []
    for plane in self.to(torch.float64).reshape(math.prod(self.shape[:-2]), h * w).tolist():
        for i in range(sizes[0]):
            rows = [
                y for y in range(i * s[0] - p[0], i * s[0] - p[0] + k[0] * d[0], d[0]) if 0 <= y < h
            ]
            for j in range(sizes[1]):
                first = j * s[1] - p[1]
                columns = [x for x in range(first, first + k[1] * d[1], d[1]) if 0 <= x < w]
                best, place = -math.inf, rows[0] * w + columns[0]
                for at in (y * w + x for y in rows for x in columns):
                    if plane[at] > best or math.isnan(plane[at]):
                        best, place = plane[at], at
                values.append(best)
                places.append(place)
    shape = (*self.shape[:-2], *sizes)
    out = torch.tensor(values, dtype=torch.float64).reshape(shape).to(self.dtype)
    return out, torch.tensor(places, dtype=torch.int64).reshape(shape)
