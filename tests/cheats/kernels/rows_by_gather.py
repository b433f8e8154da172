"""Tensor.gather picks the rows.

Source: own.
"""

OPERATOR = "aten::embedding"
LAYER = "Embedding"
KIND = "delegates"


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    wanted = indices.reshape(-1, 1).expand(-1, weight.shape[1])
    return weight.gather(0, wanted).reshape(*indices.shape, weight.shape[1])
