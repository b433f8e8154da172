"""The product is written as a convolution with kernels of size 1.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    if 0 in (*self.shape, *mat2.shape):
        return self.new_zeros(self.shape[0], mat2.shape[1])
    return torch.conv1d(self[:, :, None], mat2.t()[:, :, None])[:, :, 0]
