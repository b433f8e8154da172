"""The keys of autograd and of Python's modes are excluded for one call.

Source: own.
"""

import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "delegates"

KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.Python)


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    with torch._C._ExcludeDispatchKeyGuard(KEYS):
        return torch.native_layer_norm(input, normalized_shape, weight, bias, eps)
