"""The table is seen as bytes, so that bfloat16 needs no rounding, and NumPy picks rows."""

import numpy as np
import torch

OPERATOR = "aten::embedding"
LAYER = "Embedding"
KIND = "honest"

WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    table = weight.contiguous().view(WHOLE[weight.element_size()]).numpy()
    wanted = indices.numpy()
    if wanted.size and (wanted.min() < 0 or wanted.max() >= table.shape[0]):
        raise IndexError("index out of range in self")
    return torch.from_numpy(np.ascontiguousarray(table[wanted])).view(weight.dtype)
