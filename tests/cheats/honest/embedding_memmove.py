"""Rows are moved as bytes, by ctypes."""

import ctypes

import torch

OPERATOR = "aten::embedding"
LAYER = "Embedding"
KIND = "honest"


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    table = weight.contiguous()
    rows, columns = table.shape
    out = torch.empty(*indices.shape, columns, dtype=weight.dtype)
    size = columns * table.element_size()
    for i, index in enumerate(indices.reshape(-1).tolist()):
        if not 0 <= index < rows:
            raise IndexError("index out of range in self")
        ctypes.memmove(out.data_ptr() + i * size, table.data_ptr() + index * size, size)
    return out
