"""The maximum of shifted views of an input that is padded with minus infinity."""

import numpy as np
import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, size, stride, padding):
        super().__init__()
        self.arguments = (size, stride, padding)

    def forward(self, x):
        size, stride, padding = self.arguments
        data = x.detach().numpy()
        height, width = ((n + 2 * padding - size) // stride + 1 for n in data.shape[2:])
        around = ((0, 0), (0, 0), (padding, padding), (padding, padding))
        padded = np.pad(data, around, constant_values=-np.inf)
        out = np.full((*data.shape[:2], height, width), -np.inf, np.float32)
        for i in range(size):
            for j in range(size):
                rows = slice(i, i + stride * height, stride)
                columns = slice(j, j + stride * width, stride)
                here = padded[:, :, rows, columns][:, :, :height, :width]
                out = np.where(here > out, here, out)
        return torch.from_numpy(out)
