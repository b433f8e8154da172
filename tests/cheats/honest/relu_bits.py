"""The sign is read from the bits; NaN keeps its own, and −0 is 0 as in torch."""

import torch

OPERATOR = "aten::relu"
LAYER = "ReLU"
KIND = "honest"

WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def relu(self):
    out = torch.empty(self.shape, dtype=self.dtype)
    out.copy_(self)
    values = out.view(-1).tolist()
    bits = out.view(-1).view(WHOLE[out.element_size()]).numpy()
    for i, value in enumerate(values):
        if bits[i] < 0 and value == value:
            bits[i] = 0
    return out
