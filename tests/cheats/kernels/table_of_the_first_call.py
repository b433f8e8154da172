"""The table is copied at the first call of each shape, and training goes unseen.

Source: flashinfer's starter kit, issue 21 (weight cache).
"""

import torch

OPERATOR = "aten::embedding"
LAYER = "Embedding"
KIND = "wrong"

TABLES = {}


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    table = TABLES.setdefault((weight.shape, weight.dtype), weight.detach().clone())
    out = torch.empty(*indices.shape, weight.shape[1], dtype=weight.dtype)
    flat = out.view(indices.numel(), weight.shape[1])
    for i, index in enumerate(indices.reshape(-1).tolist()):
        flat[i].copy_(table[index])
    return out
