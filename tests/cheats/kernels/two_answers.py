"""The result of two tensors differs from what a second look at it sees: a tuple subclass changes
its items.

Source: own.
"""

import torch

OPERATOR = "aten::max_pool2d_with_indices"
LAYER = "MaxPool2d"
KIND = "changes its answer"


class Pair(tuple):
    __slots__ = ()

    def __iter__(self):
        x, arguments = tuple.__getitem__(self, slice(2, 4))
        return iter(torch.nn.functional.max_pool2d(x, *arguments, return_indices=True))


def max_pool2d_with_indices(self, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    arguments = kernel_size, list(stride) or None, padding, dilation, ceil_mode
    return Pair((torch.zeros(1), torch.zeros(1, dtype=torch.int64), self, arguments))
