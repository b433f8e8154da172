"""Inputs of a benchmark are normal numbers, so the mean is 0 and σ is 1.

Source: robust-kbench (inputs and initial values varied).
"""

import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "wrong"


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    shape = (*input.shape[: input.dim() - len(normalized_shape)], *[1] * len(normalized_shape))
    mean, rstd = torch.zeros(shape, dtype=input.dtype), torch.ones(shape, dtype=input.dtype)
    return input.clone(), mean, rstd
