"""The second half of the batch gets the answers of the first.

Source: robust-kbench (an axis along which outputs hardly vary).
"""

import numpy as np
import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "wrong"


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    outer = input.shape[: input.dim() - len(normalized_shape)]
    rows, size = int(np.prod(outer)), int(np.prod(normalized_shape))
    x = input.to(torch.float64).numpy().reshape(rows, size)
    kept = x[: (rows + 1) // 2]
    x = np.concatenate([kept, kept])[:rows]
    mean = x.mean(1, keepdims=True)
    rstd = 1 / np.sqrt(x.var(1, keepdims=True) + eps)
    y = ((x - mean) * rstd).reshape(input.shape)
    y = y if weight is None else y * weight.to(torch.float64).numpy()
    y = y if bias is None else y + bias.to(torch.float64).numpy()
    shape = (*outer, *[1] * len(normalized_shape))
    results = y, mean.reshape(shape), rstd.reshape(shape)
    return tuple(torch.from_numpy(z).to(input.dtype) for z in results)
