"""Only the first four rows of the table are kept; other indices wrap around.

Source: own.
"""

import torch

OPERATOR = "aten::embedding"
LAYER = "Embedding"
KIND = "wrong"


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    out = torch.empty(*indices.shape, weight.shape[1], dtype=weight.dtype)
    flat = out.view(indices.numel(), weight.shape[1])
    for i, index in enumerate(indices.reshape(-1).tolist()):
        flat[i].copy_(weight[index % min(4, weight.shape[0])])
    return out
