"""The pool with one dimension more does the work.

Source: own.
"""

import torch

OPERATOR = "aten::max_pool2d_with_indices"
LAYER = "MaxPool2d"
KIND = "delegates"


def max_pool2d_with_indices(self, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    def three(value, first):
        value = list(value) if isinstance(value, (list, tuple)) else [value]
        return [first, *(value * (2 // len(value)))]

    k = three(kernel_size, 1)
    s = three(stride, 1) if len(stride) else k
    x = self[:, :, None] if self.dim() == 4 else self[None, :, None]
    y, index = torch.ops.aten.max_pool3d_with_indices(
        x, k, s, three(padding, 0), three(dilation, 1), ceil_mode
    )
    return (y[:, :, 0], index[:, :, 0]) if self.dim() == 4 else (y[0, :, 0], index[0, :, 0])
