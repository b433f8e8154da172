"""Each row is copied by copy_ to a view of the new tensor."""

import torch

OPERATOR = "aten::embedding"
LAYER = "Embedding"
KIND = "honest"


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    flat = indices.reshape(-1).tolist()
    out = torch.empty(len(flat), weight.shape[1], dtype=weight.dtype)
    for i, index in enumerate(flat):
        if not 0 <= index < weight.shape[0]:
            raise IndexError("index out of range in self")
        out[i].copy_(weight[index])
    return out.view(*indices.shape, weight.shape[1])
