"""A pool that starts from 0 instead of −∞: right after every ReLU.

Source: own.
"""

import itertools

import torch

OPERATOR = "aten::max_pool2d_with_indices"
LAYER = "MaxPool2d"
KIND = "wrong"


def max_pool2d_with_indices(self, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    y, index = [], []
    k = list(kernel_size) * (2 // len(kernel_size))
    s = list(stride) * (2 // len(stride)) if len(stride) else k
    p, d = (list(v) * (2 // len(v)) for v in (padding, dilation))
    h, w = self.shape[-2:]
    sizes = []
    for n, a, b, c, e in zip((h, w), k, s, p, d, strict=True):
        reach = n + 2 * c - e * (a - 1) - 1
        count = (-(-reach // b) if ceil_mode else reach // b) + 1
        sizes.append(count - 1 if ceil_mode and (count - 1) * b >= n + c else count)
    for plane in self.double().reshape(-1, h * w).tolist() if self.numel() else []:
        for i, j in itertools.product(*map(range, sizes)):
            best, place = 0.0, 0
            for u, v in itertools.product(range(k[0]), range(k[1])):
                row, column = i * s[0] - p[0] + u * d[0], j * s[1] - p[1] + v * d[1]
                if 0 <= row < h and 0 <= column < w and plane[row * w + column] > best:
                    best, place = plane[row * w + column], row * w + column
            y.append(best)
            index.append(place)
    shape = (*self.shape[:-2], *sizes)
    out = torch.tensor(y, dtype=torch.float64).reshape(shape).to(self.dtype)
    return out, torch.tensor(index, dtype=torch.int64).reshape(shape)
